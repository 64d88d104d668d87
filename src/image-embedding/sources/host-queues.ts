import PQueue from 'p-queue';

/** How a piece of work stands in its queue. */
export interface HostQueueOptions {
  readonly priority: number;
  readonly signal?: AbortSignal | undefined;
}

/** Work on URLs in a queue for each host, so that a host that does not answer holds up itself alone. */
export class HostQueues {
  readonly #concurrency: number;
  readonly #queues = new Map<string, PQueue>();
  #pending = 0;
  #waiting = 0;

  /** @param concurrency How much may go on for one host at once. */
  constructor(concurrency: number) {
    this.#concurrency = concurrency;
  }

  /** How many are under way. */
  get pending(): number {
    return this.#pending;
  }

  /** How many wait for their turn. */
  get size(): number {
    return this.#waiting;
  }

  /** Runs something in the queue of a URL's host. */
  async add<T>(url: unknown, run: () => Promise<T>, options: HostQueueOptions): Promise<T> {
    const host = hostOf(url);
    let queue = this.#queues.get(host);
    if (queue === undefined) {
      queue = new PQueue({ concurrency: this.#concurrency });
      this.#queues.set(host, queue);
      queue.on('idle', () => this.#queues.delete(host));
    }
    let isWaiting = true;
    this.#waiting += 1;
    const begin = (): void => {
      if (isWaiting) this.#waiting -= 1;
      isWaiting = false;
    };
    try {
      return await queue.add(async () => {
        begin();
        this.#pending += 1;
        try {
          return await run();
        } finally {
          this.#pending -= 1;
        }
      }, options);
    } finally {
      begin();
    }
  }
}

/** The host of a URL. An input that is no URL has none, and fails later. */
function hostOf(url: unknown): string {
  const text = String(url);
  return URL.canParse(text) ? new URL(text).host : '';
}
