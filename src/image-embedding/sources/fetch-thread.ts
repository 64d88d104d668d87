/**
 * Fetching in a thread of its own, beside a model that stops the event loop of its process for each run: a connection takes a dozen turns of the
 * loop, and would take as many runs, with its timeouts running all the while. Started by the first URL.
 */
import {
  operation,
  registerErrorClass,
  spawnWorker,
  type UnaryOperation,
  type WorkerHandle,
} from '../../worker/index.js';
import { isLive, packageUrl } from '../../worker/internal.js';
import { imageErrorClasses } from '../image-errors.js';
import type { UrlLimits } from './limits.js';

/** What the thread can do. */
export type FetchOperations = { readonly fetch: UnaryOperation<string, Uint8Array> };

/** Requests that may wait, which the pool bounds already. */
const CAPACITY = 65_536;

/** Fetches URLs. */
export class FetchThread {
  readonly #limits: UrlLimits;
  #worker: WorkerHandle<FetchOperations> | undefined;

  constructor(limits: UrlLimits) {
    this.#limits = limits;
  }

  /** Fetches as {@link bytesFromUrl} does. */
  fetch(url: unknown, signal: AbortSignal | undefined): Promise<Uint8Array> {
    // One that crashed more often than it may is over for good.
    if (this.#worker === undefined || !isLive(this.#worker.state.current)) this.#worker = this.#start();
    // The limits' own timeouts end it.
    const options = { timeoutMs: Number.POSITIVE_INFINITY, ...(signal === undefined ? {} : { signal }) };
    return this.#worker.call('fetch', url as string, options);
  }

  /** Ends the thread. */
  async close(): Promise<void> {
    await this.#worker?.close();
  }

  #start(): WorkerHandle<FetchOperations> {
    for (const each of imageErrorClasses) registerErrorClass(each);
    return spawnWorker<FetchOperations>({
      host: 'thread',
      module: packageUrl('image-embedding/sources/fetch-module.js'),
      operations: { fetch: operation<string, Uint8Array>({ capacity: CAPACITY, idempotent: true }) },
      options: this.#limits,
      // Each host has a queue of its own before it.
      concurrency: CAPACITY,
      idleTimeoutMs: Number.POSITIVE_INFINITY,
      // A long run of the model keeps this side from hearing of the thread's progress.
      stallTimeoutMs: Number.POSITIVE_INFINITY,
    });
  }
}
