import { createSelector, sleep } from '../../channels/index.js';
import { messageOf } from '../../core/index.js';
import type { ModelContext, UntypedModel } from '../model.js';
import type { Operations } from '../operation.js';
import { runWorker } from '../run-worker.js';
import type { SpawnSettings } from '../spawn-options.js';
import { coreOf, type WorkerChannels } from '../worker-channels.js';
import { WorkerLoadError } from '../worker-errors.js';
import { loadModel } from './load-model.js';

/** Loads a model into this event loop and runs the stock loop over it. Never rejects: a failure is the worker's state. */
export async function runInline(channels: WorkerChannels<Operations>, settings: SpawnSettings): Promise<void> {
  const core = coreOf(channels as never);
  core.attach();
  const stop = new AbortController();
  let isGivenUp = false;
  const context: ModelContext = { signal: stop.signal, workerId: channels.id, host: 'inline' };
  try {
    channels.enter('loading');
    const loading = load(settings, context);
    // A model that comes when nobody waits for it any more is still released.
    void loading.then((model) => (isGivenUp ? (model as UntypedModel | null)?.dispose?.() : undefined)).catch(() => {});
    const timer = sleep(settings.loadTimeoutMs, { clock: settings.clock });
    const event = await createSelector(
      { loaded: loading, shutdown: core.shutdown, timeout: timer },
      { biased: true },
    ).next();
    timer[Symbol.dispose]();
    if (event.arm !== 'loaded') {
      isGivenUp = true;
      stop.abort();
      channels.finish(event.arm === 'timeout' ? lateError(settings) : undefined);
      return;
    }
    await runWorker(event.value as never, channels, {
      concurrency: settings.concurrency,
      idleTimeoutMs: settings.idleTimeoutMs,
    });
  } catch (error) {
    channels.finish(error);
  }
}

async function load(settings: SpawnSettings, context: ModelContext): Promise<unknown> {
  if (settings.module !== undefined) return loadModel(settings.module, settings.options, context);
  if (settings.load === undefined) return settings.model;
  try {
    return await settings.load(context);
  } catch (error) {
    const message = `Cannot load model: load() threw ${messageOf(error)}`;
    throw new WorkerLoadError(message, { cause: error });
  }
}

function lateError({ loadTimeoutMs, module }: SpawnSettings): WorkerLoadError {
  return new WorkerLoadError(
    `Cannot load model: ${module ?? 'load()'} must load within ${loadTimeoutMs} ms, received nothing`,
  );
}
