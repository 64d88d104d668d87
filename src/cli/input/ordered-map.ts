import { mpsc } from '../../channels/index.js';

/**
 * Maps a source with up to `window` calls under way, and yields the outcomes in the order of the source. It reads on only as outcomes are
 * taken, so that memory stays constant however long the source is. Once `signal` aborts it starts no more calls, and what is under way is
 * still yielded.
 *
 * @param source What to map. One that may never answer again, such as a terminal, must end when `signal` aborts.
 * @param window How many calls may be under way.
 * @param map Is called for each item; it must not reject: an outcome holds what went wrong.
 * @param signal Stops the reading.
 * @returns The outcomes.
 */
export async function* orderedMap<T, R>(
  source: Iterable<T> | AsyncIterable<T>,
  window: number,
  map: (item: T) => Promise<R>,
  signal?: AbortSignal,
): AsyncGenerator<R, void, undefined> {
  // The channel carries promises: its capacity is what bounds the calls, its order is the order of the source.
  const [started, outcomes] = mpsc.channel<Promise<R>>(window);
  const stop = signal === undefined ? {} : { signal };

  const read = async (): Promise<void> => {
    try {
      for await (const item of source) {
        const permit = await started.reserve(stop);
        permit.send(map(item));
      }
    } finally {
      started.close();
    }
  };

  const reading = read().then(
    () => undefined,
    (error: unknown) => (signal?.aborted ? undefined : { error }),
  );
  try {
    for (let next = await outcomes.recv(); !next.done; next = await outcomes.recv()) yield await next.value;
    const failure = await reading;
    if (failure !== undefined) throw failure.error;
  } finally {
    outcomes.close();
  }
}
