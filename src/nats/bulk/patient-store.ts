import { setTimeout as delay } from 'node:timers/promises';
import { type JetStream, JetStreamRefusal } from '../jetstream.js';

const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 2_000;

/**
 * Stores a message, and waits where the stream is full.
 *
 * @param onFull Called once when it has to wait.
 * @returns False where the subject is taken.
 */
export async function storePatiently(
  js: JetStream,
  subject: string,
  data: Uint8Array,
  options: {
    readonly headers?: Readonly<Record<string, string>>;
    readonly signal?: AbortSignal | undefined;
    readonly onFull?: (() => void) | undefined;
  } = {},
): Promise<boolean> {
  let hasWaited = false;
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, MAX_PAUSE_MS)) {
    try {
      return (await js.publish(subject, data, options.headers)) !== undefined;
    } catch (error) {
      if (!(error instanceof JetStreamRefusal) || !error.isFull) throw error;
    }
    if (!hasWaited) options.onFull?.();
    hasWaited = true;
    await delay(pause, undefined, { signal: options.signal });
  }
}
