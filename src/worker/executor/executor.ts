import type { CancellationToken } from '../../channels/index.js';
import type { WorkerHealth } from '../account/ledger.js';
import type { Request } from '../request.js';

/**
 * Runs requests in a model: in this event loop (`inline.ts`), or behind a link to a thread or process (`link.ts`).
 *
 * Invariant: a request that was started has its place here until its call has left the model, whatever its caller did meanwhile.
 */
export interface Executor {
  /** Whether a request may be started now. */
  readonly hasRoom: boolean;
  /** Whether no call is inside. */
  readonly isEmpty: boolean;
  /** Whether its host can be ended while calls are inside. */
  readonly isKillable: boolean;
  /** Starts a request, unless it was answered. To be called only while there is room. */
  start(request: Request): void;
  /** Called when a call has left, or room has come in another way. Set by the loop. */
  onFreed: () => void;
  /** Cancelled when its host has ended by itself, or hangs. */
  readonly closed: CancellationToken;
  /**
   * Makes the model ready.
   *
   * @param onLoading Called once the host runs: what takes time from then on is the model.
   * @throws WorkerLoadError When it can't.
   */
  load(onLoading: () => void): Promise<void>;
  /** What the host says of itself and its model; undefined when it has ended, or the answer is not waited for any more. */
  health(gaveUp: Promise<void>): Promise<WorkerHealth | undefined>;
  /** Releases the model and ends the host. Rejects with what the model's `dispose()` threw. */
  release(): Promise<void>;
  /** Ends the host now, also while it loads; resolves once it is gone. */
  kill(): Promise<void>;
  /** Why it is closed. */
  failure(): Promise<unknown>;
  /** Lets go of the calls that its host held: the worker ends with the error. */
  drop(error: unknown): void;
}
