import { createImageEmbeddingPool, serveImageEmbeddingPool } from '../../image-embedding/index.js';
import { createRemotePool, type HostReport, type ServedPool } from '../../remote/index.js';
import { operation } from '../../worker/index.js';
import { EXIT, type ExitCode, errorMessage, modelError, UsageError } from '../errors.js';
import { handleInterrupts } from '../terminal/interrupts.js';
import { type Column, renderTable } from '../terminal/text.js';
import type { CommandContext } from './context.js';
import { withNearestModel } from './model-cache.js';
import { connectToServer, type ServerOptions } from './nats-server.js';
import { type ModelChoice, modelSource } from './options.js';

/** The options of `millrace host`. */
export interface HostCommandOptions extends ServerOptions, ModelChoice {
  readonly service: string;
  readonly name?: string;
  readonly workers?: number;
  readonly allowUrls?: boolean;
  readonly allowPrivateUrls?: boolean;
}

/** The options of `millrace hosts`. */
export interface HostsCommandOptions extends ServerOptions {
  readonly service: string;
  readonly wait: number;
  readonly json?: boolean;
}

/** How long calls under way may take once the command is asked to end, in ms. */
const SHUTDOWN_MS = 30_000;

/** `millrace host`: embeds pictures for callers on other machines until it is asked to end, then those that it has accepted. */
export async function hostCommand(context: CommandContext, options: HostCommandOptions): Promise<ExitCode> {
  const { stderr } = context;
  const nats = await connectToServer(options);
  const source = await modelSource(options);
  const pool = createImageEmbeddingPool({
    ...(source === undefined ? {} : { model: source }),
    workers: { min: 1, max: options.workers ?? 'auto' },
    limits: { url: { allowPrivateAddresses: options.allowPrivateUrls ?? false } },
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
  let host: ServedPool | undefined;
  try {
    const { name: model, dimension } = await pool.describe().catch(async (error: unknown) => {
      throw modelError(await withNearestModel(error, options.model));
    });
    const fetchesUrls = options.allowUrls ?? false;
    const { service, name } = options;
    host = await serveImageEmbeddingPool(pool, {
      bus: nats,
      service,
      fetchesUrls,
      ...(name === undefined ? {} : { name }),
    }).catch((error: unknown) => {
      throw usageError(error);
    });
    stderr.write(`serving ${service} as ${host.name}: ${model}, ${dimension} dimensions; Ctrl-C ends it\n`);
    await ended;
    stderr.write(`stopping: calls under way: ${host.stats().pending}; once more to quit at once\n`);
    await host.close({ timeoutMs: SHUTDOWN_MS });
    const { accepted, settled } = host.stats();
    stderr.write(`${accepted} calls accepted, ${settled} answered\n`);
    await pool.close({ timeoutMs: SHUTDOWN_MS });
    return EXIT.ok;
  } finally {
    release();
    await host?.close({ timeoutMs: 0 });
    await pool.destroy(new Error('the command has ended'));
    await nats.close();
  }
}

/** A name that is none is the user's mistake. */
function usageError(error: unknown): unknown {
  const isUsage = error instanceof TypeError || error instanceof RangeError;
  return isUsage ? new UsageError(errorMessage(error), { cause: error }) : error;
}

/** `millrace hosts`: which hosts of a service answer. Exit code 1 says that none did. */
export async function hostsCommand(context: CommandContext, options: HostsCommandOptions): Promise<ExitCode> {
  const { stdout, stderr } = context;
  const nats = await connectToServer(options);
  const pool = createRemotePool({ bus: nats });
  try {
    try {
      pool.connect(options.service, { operations: { describe: operation<undefined, unknown>() } });
    } catch (error) {
      throw usageError(error);
    }
    await new Promise((resolve) => setTimeout(resolve, options.wait));
    const hosts = pool.hosts().sort((a, b) => a.name.localeCompare(b.name));
    if (options.json) stdout.write(`${JSON.stringify(hosts, undefined, 2)}\n`);
    else if (hosts.length === 0) stderr.write(`no host of ${options.service} has answered within ${options.wait} ms\n`);
    else stdout.write(renderTable(COLUMNS, hosts.map(rowOf), stdout.columns));
    return hosts.length === 0 ? EXIT.failed : EXIT.ok;
  } finally {
    await pool.close();
    await nats.close();
  }
}

const COLUMNS: readonly Column[] = [
  { title: 'host' },
  { title: 'state' },
  { title: 'places', align: 'right' },
  { title: 'busy', align: 'right' },
  { title: 'round trip', align: 'right' },
];

function rowOf({ name, state, places, freePlaces, roundTripMs }: HostReport): string[] {
  const trip = roundTripMs === undefined ? '' : `${roundTripMs.toFixed(1)} ms`;
  return [name, state, String(places), String(places - freePlaces), trip];
}
