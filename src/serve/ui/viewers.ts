/**
 * The viewers of the dashboard: streams of server-sent events.
 *
 * Invariant: a stream holds at most one state that its reader has not taken. A reader that is slow misses states and costs no memory; each state is
 * whole, so the next one that it takes is all it needs.
 */
const encoder = new TextEncoder();

/** When a browser may connect again, in ms. */
const RETRY_MS = 1_000;

/** The open streams. */
export class Viewers {
  readonly #controllers = new Set<ReadableStreamDefaultController<Uint8Array>>();

  /** How many look. */
  get size(): number {
    return this.#controllers.size;
  }

  /** Opens a stream. */
  add(): ReadableStream<Uint8Array> {
    let own: ReadableStreamDefaultController<Uint8Array>;
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          own = controller;
          this.#controllers.add(controller);
          controller.enqueue(encoder.encode(`retry: ${RETRY_MS}\n\n`));
        },
        cancel: () => {
          this.#controllers.delete(own);
        },
      },
      // The line at its head, and one state.
      new CountQueuingStrategy({ highWaterMark: 2 }),
    );
  }

  /** Sends a state to all that have room for it. */
  send(state: object): void {
    if (this.#controllers.size === 0) return;
    const event = encoder.encode(`data: ${JSON.stringify(state)}\n\n`);
    for (const controller of this.#controllers) {
      if ((controller.desiredSize ?? 0) > 0) controller.enqueue(event);
    }
  }

  /** Ends all streams. */
  close(): void {
    for (const controller of this.#controllers) controller.close();
    this.#controllers.clear();
  }
}
