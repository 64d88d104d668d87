import { requireFunction, requireMilliseconds, requireOptions, requirePositiveInteger } from '../core/index.js';
import type { ModelOf } from './model.js';
import type { Operations } from './operation.js';
import { coreOf, type WorkerChannels } from './worker-channels.js';
import type { WorkerProgress } from './worker-health.js';
import { WorkerLoop } from './worker-loop.js';

const IDLE_MS = 300_000;

/** Channels that have a loop: a second one would run twice as many calls, and end the worker under the first. */
const served = new WeakSet<object>();

/** Options of {@link runWorker}. */
export interface RunWorkerOptions {
  /** How many calls may be inside the model at once. 1 by default. */
  readonly concurrency?: number | undefined;
  /** How long the worker waits for a request before it calls itself idle, in ms; `Infinity` for never. 300,000 by default. */
  readonly idleTimeoutMs?: number | undefined;
  /** Told before and after each call into the model, so that somebody outside can see since when a long call runs. What it throws is an uncaught exception, and no call's answer. */
  readonly onProgress?: ((progress: WorkerProgress) => void) | undefined;
}

/**
 * The stock loop of a worker: checks and warms up the model, serves requests until the handle is closed, then releases the model.
 *
 * Up to `concurrency` calls are inside the model at once; while it is full, requests stay in their queues, and full queues push back on
 * callers. Operations are served by turns, so none starves while another is saturated. A request that was given up, or whose deadline has
 * passed, is never run.
 *
 * **Cancel safety:** not applicable; close or destroy the handle to end it.
 *
 * @param model An object with a method per operation.
 * @param channels The loop's end, from {@link createWorkerChannels}.
 * @param options See {@link RunWorkerOptions}.
 * @returns A promise that resolves when the model has been released. It may be ignored: a failure is the worker's state as well.
 * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown, or the channels have a loop already.
 * @throws WorkerLoadError When the model lacks a method (`ERR_MODEL_CONTRACT`) or its `warmup()` failed.
 * @example
 * ```ts
 * const { handle, channels } = createWorkerChannels({ greet: operation<string, string>({ capacity: 8 }) });
 * const done = runWorker({ greet: async (name) => `hello ${name}` }, channels, { concurrency: 2 });
 * await handle.call('greet', 'mill', { timeoutMs: 1_000 }); // => 'hello mill'
 * await handle.close();
 * await done; // => undefined
 * ```
 */
export function runWorker<Ops extends Operations>(
  model: ModelOf<Ops>,
  channels: WorkerChannels<Ops>,
  options?: RunWorkerOptions,
): Promise<void> {
  const action = 'Cannot run worker';
  const given = requireOptions<RunWorkerOptions>(action, options, ['concurrency', 'idleTimeoutMs', 'onProgress']);
  const concurrency =
    given.concurrency === undefined ? 1 : requirePositiveInteger(action, 'concurrency', given.concurrency);
  const idleTimeoutMs =
    given.idleTimeoutMs === undefined
      ? IDLE_MS
      : requireMilliseconds(action, 'idleTimeoutMs', given.idleTimeoutMs, { infinite: true });
  const untyped = channels as unknown as WorkerChannels<never>;
  const onProgress: RunWorkerOptions['onProgress'] =
    given.onProgress === undefined ? undefined : requireFunction(action, 'onProgress', given.onProgress);
  const { model: account } = coreOf(untyped);
  if (served.has(channels)) {
    throw new TypeError(`${action}: channels must have no loop yet, received those of another`);
  }
  served.add(channels);
  account.onProgress = onProgress;
  const done = new WorkerLoop(untyped, { concurrency, idleTimeoutMs }).run(model);
  // Callers learn of a failure from the state and from their calls; whoever wants it here as well awaits the promise.
  done.catch(() => {});
  return done;
}
