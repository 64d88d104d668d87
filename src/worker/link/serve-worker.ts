import { messageOf } from '../../core/index.js';
import { type EncodedError, encodeError } from '../codec/error-codec.js';
import { plainCopy } from '../codec/plain-copy.js';
import type { WorkerHandle } from '../handle.js';
import { isPermanentLoadError, loadModel, preloadModel } from '../hosts/load-model.js';
import type { ProgressBoard } from '../hosts/progress-board.js';
import { requireModel, type WorkerHost } from '../model.js';
import { type Operations, operation } from '../operation.js';
import { runWorker } from '../run-worker.js';
import { coreOf, createWorkerChannels } from '../worker-channels.js';
import type { WorkerCore } from '../worker-core.js';
import { WorkerLoadError } from '../worker-errors.js';
import { Backlog } from './backlog.js';
import { HostedModel } from './hosted-model.js';
import type { Link } from './link.js';
import { type HostInit, Kind } from './messages.js';
import type { Message } from './outbox.js';

/** What the entry file of a host hands over. */
export interface ServeOptions {
  readonly link: Link;
  readonly board: ProgressBoard;
  readonly host: WorkerHost;
  /** Ends the thread or process, once what it has printed and sent is on its way. */
  readonly exit: () => void;
}

/**
 * The host's side of a link: loads the model that `Init` names, runs the stock loop beside it, and translates between messages and requests.
 */
export function serveWorker(options: ServeOptions): void {
  const { link } = options;
  let served: ServedWorker | undefined;
  const backlog = new Backlog((message, isAlone, at) => served?.receive(message, isAlone, at));
  const stop = new AbortController();
  link.unreadable(() => link.post([Kind.Unreadable]));
  link.receive((message, isAlone) => {
    switch (message[0]) {
      case Kind.Init:
        load(message[1] as HostInit, options, stop.signal).then(
          (loaded) => {
            served = loaded;
            link.post([Kind.Ready]);
          },
          (error: unknown) => {
            link.post([Kind.LoadFailed, encodeError(error), isPermanentLoadError(error)]);
            link.flush();
            options.exit();
          },
        );
        break;
      case Kind.Preload:
        void preloadModel(message[1] as string).then(() => link.post([Kind.Preloaded]));
        break;
      case Kind.Close:
        stop.abort();
        void close(served, options);
        break;
      default:
        backlog.receive(message, isAlone);
    }
  });
}

async function close(served: ServedWorker | undefined, { link, exit }: ServeOptions): Promise<void> {
  let failure: unknown;
  try {
    await served?.close();
  } catch (error) {
    failure = error;
  }
  link.post(failure === undefined ? [Kind.Closed] : [Kind.Closed, encodeError(failure)]);
  link.flush();
  exit();
}

async function load(init: HostInit, options: ServeOptions, signal: AbortSignal): Promise<ServedWorker> {
  const { board, link } = options;
  const operations = declareOperations(init);
  const context = { signal, workerId: init.workerId, host: init.host };
  const model = requireModel(await loadModel(init.module, init.options, context), operations);
  const hosted = new HostedModel(model, operations, link, board, init.transferResults);
  const { handle, channels } = createWorkerChannels(operations, { id: init.workerId });
  coreOf(channels as never).hub.isDebugging = false;
  const finished = runWorker(hosted.model as never, channels, {
    concurrency: init.concurrency,
    idleTimeoutMs: Number.POSITIVE_INFINITY,
  });
  // Reported by `close`, and through the state.
  finished.catch(() => {});
  try {
    await handle.state.waitFor('ready');
  } catch (error) {
    const cause = (error as { cause?: unknown }).cause ?? error;
    throw cause instanceof WorkerLoadError ? cause : new WorkerLoadError(describe(init.module, cause), { cause });
  }
  return new ServedWorker(handle, coreOf(channels as never), hosted, link, Object.keys(operations), finished);
}

function describe(module: string, cause: unknown): string {
  return `Cannot load model: ${module} failed in warmup: ${messageOf(cause)}`;
}

function declareOperations(init: HostInit): Operations {
  const declared: Record<string, Operations[string]> = {};
  for (const [name, each] of Object.entries(init.operations)) {
    // The parent's queue is the bounded one: it sends what a free slot of the model awaits, so this one never fills.
    const capacity = init.concurrency * 2 + 16;
    declared[name] =
      each.kind === 'stream'
        ? operation.stream({ capacity, chunkCapacity: each.chunkCapacity })
        : operation({ capacity });
  }
  return declared;
}

class ServedWorker {
  readonly #handle: WorkerHandle<Operations>;
  readonly #core: WorkerCore;
  readonly #hosted: HostedModel;
  readonly #link: Link;
  readonly #names: readonly string[];
  readonly #finished: Promise<void>;

  constructor(
    handle: WorkerHandle<Operations>,
    core: WorkerCore,
    hosted: HostedModel,
    link: Link,
    names: readonly string[],
    finished: Promise<void>,
  ) {
    this.#handle = handle;
    this.#core = core;
    this.#hosted = hosted;
    this.#link = link;
    this.#names = names;
    this.#finished = finished;
  }

  receive(message: Message, isAlone: boolean, at: number): void {
    const id = message[1] as number;
    switch (message[0]) {
      case Kind.Call:
        this.#hosted.call(this.#core, this.#names[message[2] as number] as string, message, isAlone, at);
        break;
      case Kind.Announce:
        this.#hosted.announce(this.#names[message[2] as number] as string, id);
        break;
      case Kind.Abort:
        this.#hosted.abort(id, message[2] as EncodedError);
        break;
      case Kind.Credit:
        this.#hosted.credit(id, message[2] as number);
        break;
      case Kind.Ping:
        this.#pong(id);
        break;
      case Kind.Recount:
        this.#hosted.recount(message.slice(1) as number[]);
        break;
    }
  }

  async close(): Promise<void> {
    await this.#handle.close({ timeoutMs: Number.POSITIVE_INFINITY });
    await this.#finished;
  }

  #pong(id: number): void {
    this.#handle.ping({ timeoutMs: 60_000 }).then(
      // What the model adds may not be cloneable; the rest is plain.
      (health) => {
        const { model } = health;
        this.#link.post([Kind.Pong, id, model === undefined ? health : { ...health, model: plainCopy(model) }]);
      },
      () => {},
    );
  }
}
