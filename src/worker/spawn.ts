import { runLoop } from './loop.js';
import { accountOf, createWorkerChannels, type WorkerChannels } from './channels.js';
import { WorkerLoadError } from './errors.js';
import type { Executor } from './executor/executor.js';
import { InlineExecutor } from './executor/inline.js';
import { LinkExecutor } from './executor/link.js';
import { startProcessHost } from './executor/process.js';
import { startThreadHost } from './executor/thread.js';
import type { WorkerHandle } from './handle.js';
import { loadModel } from './host/load-model.js';
import type { HostInit } from './codec/messages.js';
import { messageOf } from '../core/index.js';
import type { Operations } from './operation.js';
import type { Request } from './request.js';
import { inNeutralContext } from './trace.js';
import { requireSpawnOptions, type SpawnSettings, type SpawnWorkerOptions } from './spawn-options.js';

/**
 * Starts a worker in a host and answers its handle at once; calls made while it loads wait in their queues.
 *
 * A worker has one life: when its host crashes, exits or hangs, or its model can't be loaded, the worker is `failed`, its state says why, and the calls
 * that it held are rejected with `WorkerCrashedError`. To have it replaced, and idempotent calls run again, register it with a pool of one
 * (`minWorkers: 1, maxWorkers: 1`). An idle worker does not hold the process, and none outlives it.
 *
 * **Cancel safety:** not applicable; it does not wait. Close or destroy the handle to end the worker.
 *
 * @param options See {@link SpawnWorkerOptions}.
 * @returns The worker's handle, the same for every host.
 * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown.
 * @example
 * ```ts
 * const handle = spawnWorker({
 *   host: 'inline',
 *   operations: { double: operation<number, number>() },
 *   model: { double: async (n) => n * 2 },
 * });
 * await handle.call('double', 21); // => 42
 * await handle.close();
 * handle.state.current; // => 'dead'
 * ```
 */
export function spawnWorker<const Ops extends Operations>(options: SpawnWorkerOptions<Ops>): WorkerHandle<Ops> {
  return spawnCheckedWorker(requireSpawnOptions(options)) as unknown as WorkerHandle<Ops>;
}

/** A worker as a pool sees it: it takes requests that were admitted elsewhere. */
export interface Worker extends WorkerHandle<Operations> {
  /**
   * Hands a request over, at once: it goes to the model where there is a free place, and waits in its operation's queue otherwise. Nothing of it is
   * checked again.
   */
  start(request: Request): void;
}

/** The same as {@link spawnWorker}, for options that were checked before. */
export function spawnCheckedWorker(settings: SpawnSettings): Worker {
  const { operations, clock, id, idleTimeoutMs, loadTimeoutMs } = settings;
  const { handle, channels } = createWorkerChannels(operations, { clock, ...(id === undefined ? {} : { id }) });
  const untyped = channels as unknown as WorkerChannels<never>;
  const source = settings.module ?? 'load()';
  const executor = inNeutralContext(() => makeExecutor(untyped, settings));
  void runLoop(untyped, executor, { idleTimeoutMs, loadTimeoutMs, source });
  return handle as unknown as Worker;
}

function makeExecutor(channels: WorkerChannels<never>, settings: SpawnSettings): Executor {
  const { host, hostOptions, spare, concurrency, operations } = settings;
  const account = accountOf(channels);
  if (host === 'inline') {
    const makeModel = (signal: AbortSignal): Promise<unknown> => loadInline(settings, account.id, signal);
    return new InlineExecutor(account, operations, makeModel, concurrency);
  }
  const startHost =
    host === 'thread' ? () => startThreadHost(hostOptions) : () => spare?.claim() ?? startProcessHost(hostOptions);
  return new LinkExecutor(account, {
    startHost,
    init: describeWorker(account.id, settings),
    transferInputs: settings.transfer.inputs,
    concurrency,
    stallTimeoutMs: settings.stallTimeoutMs,
    blockedTimeoutMs: settings.blockedTimeoutMs,
  });
}

async function loadInline(settings: SpawnSettings, workerId: string, signal: AbortSignal): Promise<unknown> {
  const { module, load, model, options } = settings;
  const context = { signal, workerId, host: 'inline' } as const;
  if (module !== undefined) return loadModel(module, options, context);
  if (load === undefined) return model;
  try {
    return await load(context);
  } catch (error) {
    throw new WorkerLoadError(`Cannot load model: load() threw ${messageOf(error)}`, { cause: error });
  }
}

function describeWorker(workerId: string, settings: SpawnSettings): HostInit {
  return {
    workerId,
    host: settings.host,
    module: settings.module as string,
    options: settings.options,
    operations: Object.fromEntries(Object.entries(settings.operations).map(([name, { kind }]) => [name, kind])),
    transferResults: settings.transfer.results,
  };
}
