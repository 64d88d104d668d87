import { broadcast } from '../channels/index.js';

/**
 * Tells events to any number of readers, each at its own pace: one that falls behind by more than the capacity loses the oldest.
 *
 * @internal
 */
export class EventFeed<Event> {
  readonly #sender: broadcast.Sender<Event>;

  constructor(capacity: number) {
    this.#sender = broadcast.sender<Event>(capacity);
  }

  /** Whether anybody would see an event. */
  get hasReaders(): boolean {
    return this.#sender.receiverCount > 0;
  }

  emit(event: Event): void {
    if (!this.#sender.isClosed) this.#sender.send(event);
  }

  /** The events from now on. */
  read(): AsyncIterableIterator<Event, void, void> {
    return new EventReader(this.#sender.subscribe());
  }

  /** Ends every reader, after what is kept for it. */
  end(): void {
    this.#sender.close();
  }
}

class EventReader<Event> implements AsyncIterableIterator<Event, void, void> {
  readonly #receiver: broadcast.Receiver<Event>;

  constructor(receiver: broadcast.Receiver<Event>) {
    this.#receiver = receiver;
  }

  async next(): Promise<IteratorResult<Event, void>> {
    for (;;) {
      try {
        const { done, value } = await this.#receiver.recv();
        if (done !== true) return { done: false, value };
        // So that one that is read to its end counts as a reader no more.
        return await this.return();
      } catch (error) {
        if (!(error instanceof broadcast.LaggedError)) throw error;
      }
    }
  }

  async return(): Promise<IteratorResult<Event, void>> {
    this.#receiver.close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
