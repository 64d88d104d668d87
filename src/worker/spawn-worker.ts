import type { WorkerHandle } from './handle.js';
import { runInline } from './hosts/inline.js';
import { startProcessHost } from './hosts/process.js';
import { startThreadHost } from './hosts/thread.js';
import type { HostInit, HostOperation } from './link/messages.js';
import type { Operations } from './operation.js';
import { requireSpawnOptions, type SpawnSettings, type SpawnWorkerOptions } from './spawn-options.js';
import { SupervisedWorker } from './supervision/supervised-worker.js';
import { inNeutralContext } from './trace.js';
import { createWorkerChannels, type WorkerChannels } from './worker-channels.js';

/**
 * Starts a worker in a host and answers its handle at once; calls made while it loads wait in their queues.
 *
 * In a thread or a process the worker is supervised: when it crashes, exits, can't load or hangs, it is replaced, with growing delays, at most
 * `restart.maxRestarts` times in `restart.windowMs`; past that it is `failed`. Requests that it held are run again on its replacement when their
 * operation is idempotent and their deadline allows, and are rejected with `WorkerCrashedError` otherwise. An idle worker does not hold the
 * process, and none outlives it.
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
  const settings = requireSpawnOptions(options);
  const { handle, channels } = createWorkerChannels(options.operations, {
    clock: settings.clock,
    ...(settings.id === undefined ? {} : { id: settings.id }),
  });
  const untyped = channels as unknown as WorkerChannels<Operations>;
  inNeutralContext(
    () => void (settings.host === 'inline' ? runInline(untyped, settings) : supervise(untyped, settings)),
  );
  return handle;
}

function supervise(channels: WorkerChannels<Operations>, settings: SpawnSettings): Promise<void> {
  const { hostOptions, host, spare } = settings;
  return new SupervisedWorker(channels, {
    startHost: () =>
      host === 'thread' ? startThreadHost(hostOptions) : (spare?.claim() ?? startProcessHost(hostOptions)),
    init: describeWorker(channels, settings),
    transferInputs: settings.transfer.inputs,
    concurrency: settings.concurrency,
    idleTimeoutMs: settings.idleTimeoutMs,
    loadTimeoutMs: settings.loadTimeoutMs,
    stallTimeoutMs: settings.stallTimeoutMs,
    blockedTimeoutMs: settings.blockedTimeoutMs,
    // What was moved away can't be sent again.
    retries: settings.transfer.inputs && host === 'thread' ? 0 : settings.retries,
    restart: settings.restart,
  }).run();
}

function describeWorker(channels: WorkerChannels<Operations>, settings: SpawnSettings): HostInit {
  const operations: Record<string, HostOperation> = {};
  for (const [name, each] of Object.entries(settings.operations)) {
    operations[name] = { kind: each.kind, chunkCapacity: each.kind === 'stream' ? each.chunkCapacity : 0 };
  }
  return {
    workerId: channels.id,
    host: settings.host,
    module: settings.module as string,
    options: settings.options,
    operations,
    concurrency: settings.concurrency,
    transferResults: settings.transfer.results,
  };
}
