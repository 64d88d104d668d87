import { readFile } from 'node:fs/promises';
import path from 'node:path';
import {
  createImageEmbeddingPool,
  type ImageEmbeddingPool,
  identifyModel,
  type ModelSource,
} from '../../image-embedding/index.js';
import type { ImageIndex } from '../../search/index.js';
import { describeModel, isSameModel } from '../../search/internal.js';
import {
  type AccessEntry,
  type ListenOptions,
  listen,
  type ProtocolName,
  type ServeServer,
} from '../../serve/index.js';
import { parseKeys } from '../../serve/internal.js';
import { EXIT, type ExitCode, errorCode, errorMessage, UsageError } from '../errors.js';
import { handleInterrupts } from '../terminal/interrupts.js';
import { printable } from '../terminal/text.js';
import type { CommandContext } from './context.js';
import { openIndexFolder, sourceOf } from './index-files.js';
import { withNearestModel } from './model-cache.js';
import { type ModelChoice, modelSource } from './options.js';

/** The options of `millrace serve`. */
export interface ServeCommandOptions extends Omit<ModelChoice, 'model'> {
  /** Each as `[name=]model`; the first is that of requests without a name. */
  readonly model?: readonly string[];
  readonly port?: number;
  readonly host?: string;
  readonly workers?: number;
  /** Each as `alias=name`. */
  readonly alias?: readonly string[];
  readonly apiKeyFile?: string;
  readonly openProtocol?: readonly ProtocolName[];
  readonly allowUrls?: boolean;
  readonly maxBody?: number;
  readonly maxPictures?: number;
  readonly ui?: boolean;
  /** What the search page searches. */
  readonly index?: string;
  readonly uiThumbnails?: boolean;
  readonly allowedHost?: readonly string[];
  readonly immichFallback?: string;
  readonly quiet?: boolean;
}

/** Keys of the environment, one a line. */
const KEYS_VARIABLE = 'MILLRACE_API_KEYS';
/** How long requests that are under way may take once the command is asked to end, in ms. */
const SHUTDOWN_MS = 30_000;

/** `millrace serve`: answers HTTP until it is asked to end, then what it has accepted. */
export async function serveCommand(context: CommandContext, options: ServeCommandOptions): Promise<ExitCode> {
  const { stderr } = context;
  const index = options.index === undefined ? undefined : await openIndexFolder(options.index);
  const models = await servedModels(options);
  const isNamed = options.model !== undefined;
  const [[name, named] = ['default', undefined], ...others] = models;
  const source = index === undefined || isNamed ? named : (sourceOf(index) ?? named);
  const preprocess = index?.model?.preprocess;
  const log = new AccessLog(context, options.quiet ?? false);
  const apiKeys = await readApiKeys(options.apiKeyFile);
  const pool = createImageEmbeddingPool({
    ...(source === undefined ? {} : { model: source }),
    ...(preprocess === undefined ? {} : { preprocess }),
    models: Object.fromEntries(others.map(([each, from]) => [each, from ?? 'default'])),
    workers: { min: 1, max: options.workers ?? 'auto' },
    hub: {
      onProgress: ({ model, allReceivedBytes, allTotalBytes }) => log.download(model, allReceivedBytes / allTotalBytes),
    },
  });
  let end: () => void = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const release = handleInterrupts({
    onFirst: () => end(),
    onSecond: () => {
      void pool.destroy(new Error('quit at once'));
      process.exit(EXIT.interrupted);
    },
  });
  let server: ServeServer | undefined;
  try {
    server = await start(pool, {
      ...listenOptions(options, name, others, apiKeys, (entry) => log.request(entry)),
      index,
    });
    if (apiKeys.length === 0 && !isLoopback(server.url)) {
      stderr.write('no API key is set: any program that reaches this address may use it (--api-key-file sets some)\n');
    }
    stderr.write(welcome(server.url, name, options));
    const warmed = server.app.warm().then(
      async () => await requireModelOfIndex(pool, index),
      (error: unknown) => ({ error }),
    );
    const failed = await Promise.race([warmed, ended]);
    if (failed !== undefined) throw await withNearestModel(failed.error, options.model?.[0]);
    await ended;
    stderr.write(`stopping: requests under way: ${server.app.underWay}; once more to quit at once\n`);
    await server.close({ timeoutMs: SHUTDOWN_MS });
    await pool.close({ timeoutMs: SHUTDOWN_MS });
    return EXIT.ok;
  } finally {
    release();
    await server?.close({ timeoutMs: 0 });
    await pool.destroy(new Error('the command has ended'));
    await index?.close();
  }
}

/** Compares the model of the index with the one that is served; answers what is wrong. */
async function requireModelOfIndex(
  pool: ImageEmbeddingPool,
  index: ImageIndex | undefined,
): Promise<{ readonly error: unknown } | undefined> {
  const { model, folder } = index ?? {};
  if (model === undefined) return undefined;
  const served = await identifyModel(await pool.describe(), { preprocess: model.preprocess, normalize: true });
  if (isSameModel(model, served)) return undefined;
  const message = `Cannot search ${folder}: its vectors are of ${describeModel(model)}, served is ${describeModel(served)}`;
  return { error: new UsageError(message) };
}

function listenOptions(
  options: ServeCommandOptions,
  model: string,
  others: readonly (readonly [string, ModelSource | undefined])[],
  apiKeys: readonly string[],
  onAccess: (entry: AccessEntry) => void,
): ListenOptions {
  return {
    model,
    models: others.map(([name]) => name),
    aliases: Object.fromEntries((options.alias ?? []).map(parseAlias)),
    apiKeys,
    port: options.port,
    host: options.host,
    openProtocols: options.openProtocol,
    allowUrls: options.allowUrls,
    maxBodyBytes: options.maxBody,
    // A budget for all bodies that is no smaller than one.
    ...(options.maxBody === undefined ? {} : { maxBodiesBytes: Math.max(256_000_000, 4 * options.maxBody) }),
    maxPictures: options.maxPictures,
    ui: options.ui,
    uiThumbnails: options.uiThumbnails,
    allowedHosts: options.allowedHost,
    immichFallback: options.immichFallback,
    onAccess,
  };
}

/** Listens; what is wrong with an option or the address is wrong usage. */
async function start(pool: Parameters<typeof listen>[0], options: ListenOptions): Promise<ServeServer> {
  try {
    return await listen(pool, options);
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) {
      throw new UsageError(errorMessage(error), { cause: error });
    }
    const advice: Readonly<Record<string, string>> = {
      EADDRINUSE: 'another program listens there, --port names another port',
      EACCES: 'a port below 1024 needs rights, --port names another port',
      EADDRNOTAVAIL: '--host is no address of this machine',
      ENOTFOUND: '--host is no address of this machine',
    };
    const text = advice[errorCode(error)];
    if (text === undefined) throw error;
    const place = `${options.host ?? '127.0.0.1'}:${options.port ?? 7_997}`;
    throw new UsageError(`Cannot listen at ${place}: ${text}`, { cause: error });
  }
}

/** The models by the names that requests use. */
async function servedModels({
  model = [],
  ...choice
}: ServeCommandOptions): Promise<(readonly [string, ModelSource | undefined])[]> {
  const named = await Promise.all(
    (model.length === 0 ? ['default'] : model).map(async (text) => {
      const [, name, from = text] = /^([\w.:-]+)=(.+)$/.exec(text) ?? [];
      const source = await modelSource({ ...choice, model: from });
      const own = from.includes('/') && !/^[\w.-]+\/[\w.-]+$/.test(from) ? path.basename(path.resolve(from)) : from;
      return [name ?? own, source] as const;
    }),
  );
  const names = named.map(([name]) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined)
    throw new UsageError(`Cannot serve two models by one name: ${twice}; give each one as name=model`);
  return named;
}

function parseAlias(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at > 0 && at < text.length - 1) return [text.slice(0, at), text.slice(at + 1)];
  throw new UsageError(`Cannot serve: --alias must be alias=name, received ${printable(text)}`);
}

async function readApiKeys(file: string | undefined): Promise<string[]> {
  const keys = parseKeys(process.env[KEYS_VARIABLE] ?? '');
  if (file === undefined) return keys;
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new UsageError(`Cannot read API keys: ${errorMessage(error)}`, { cause: error });
  });
  const found = parseKeys(text);
  // An empty file must not open the server.
  if (found.length === 0) throw new UsageError(`Cannot read API keys: ${file} has none; each is a line`);
  return [...keys, ...found];
}

function isLoopback(url: string): boolean {
  const { hostname } = new URL(url);
  return hostname === 'localhost' || hostname === '[::1]' || hostname.startsWith('127.');
}

function welcome(url: string, model: string, { ui, index }: ServeCommandOptions): string {
  const lines = [
    `serving ${model} at ${url}`,
    `  OpenAI clients: baseURL ${url}/v1`,
    `  description:    ${url}/openapi.json`,
    ui ? `  page:           ${url}/ui/` : '  page:           --ui shows one',
    ...(index === undefined ? [] : [`  search:         ${url}/search/`]),
  ];
  return `${lines.join('\n')}\nCtrl-C ends it\n`;
}

/** One line a request, on standard output; failures of the server in full, on standard error. */
class AccessLog {
  readonly #context: CommandContext;
  readonly #isQuiet: boolean;
  #shown = '';

  constructor(context: CommandContext, isQuiet: boolean) {
    this.#context = context;
    this.#isQuiet = isQuiet;
  }

  request({ id, method, route, status, durationMs, code, error }: AccessEntry): void {
    const { stdout, stderr } = this.#context;
    const now = new Date().toISOString();
    const time = stdout.isTTY ? now.slice(11, 19) : now;
    if (!this.#isQuiet) {
      const parts = [time, method, route, status, `${durationMs.toFixed(1)} ms`, code ?? '-', id];
      stdout.write(`${printable(parts.join(' '))}\n`);
    }
    if (error !== undefined)
      stderr.write(`${printable(`${time} ${id} ${errorCode(error)}: ${errorMessage(error)}`)}\n`);
  }

  /** Says each tenth of a download once. */
  download(model: string, share: number): void {
    const text = `downloading ${model}: ${Math.floor(share * 10) * 10} %`;
    if (text === this.#shown) return;
    this.#shown = text;
    this.#context.stderr.write(`${printable(text)}\n`);
  }
}
