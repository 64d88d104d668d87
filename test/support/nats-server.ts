/** A NATS server of a test's own: on a free loopback port, with a folder of its own, killed and started again at will. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Need } from './needs.js';
import { until } from './until.js';

const FOLDERS = ['/usr/sbin', '/usr/local/bin', '/usr/local/sbin', '/opt/homebrew/bin'];

/** The server's binary: of `MILLRACE_NATS_SERVER`, else on the PATH, else in the usual folders; undefined if there is none. */
export function natsServerBinary(): string | undefined {
  const given = process.env.MILLRACE_NATS_SERVER;
  if (given !== undefined && given !== '') return existsSync(given) ? given : undefined;
  const folders = [...(process.env.PATH ?? '').split(path.delimiter), ...FOLDERS];
  return folders.map((folder) => path.join(folder, 'nats-server')).find((file) => existsSync(file));
}

export const natsServer: Need = {
  name: 'nats-server',
  isMet: () => natsServerBinary() !== undefined,
  requiredBy: 'MILLRACE_REQUIRE_NATS',
};

/** Options of {@link NatsServer.start}. */
export interface NatsServerOptions {
  /** More of its configuration file. */
  readonly config?: string;
  readonly binary?: string;
  /** Whether it has JetStream, true by default. */
  readonly hasJetStream?: boolean;
}

/** A server that runs. */
export class NatsServer {
  readonly port: number;
  readonly #binary: string;
  readonly #folder: string;
  #child: ChildProcess | undefined;

  private constructor(binary: string, folder: string, port: number) {
    this.#binary = binary;
    this.#folder = folder;
    this.port = port;
  }

  static async start({
    config = '',
    binary = natsServerBinary(),
    hasJetStream = true,
  }: NatsServerOptions = {}): Promise<NatsServer> {
    if (binary === undefined) throw new Error('nats-server not found');
    const folder = await mkdtemp(path.join(tmpdir(), 'millrace nats '));
    const server = new NatsServer(binary, folder, await freePort());
    const store = hasJetStream ? `jetstream { store_dir: ${JSON.stringify(path.join(folder, 'store'))} }\n` : '';
    await server.configure(`${store}${config}`);
    await server.launch();
    return server;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error('the server does not run');
    return pid;
  }

  /** Writes its configuration, which the next start, or a SIGHUP, reads. */
  async configure(config: string): Promise<void> {
    await writeFile(path.join(this.#folder, 'server.conf'), `host: 127.0.0.1\nport: ${this.port}\n${config}\n`);
  }

  /** Starts it, and resolves once it takes connections. */
  async launch(): Promise<void> {
    const child = spawn(this.#binary, ['-c', path.join(this.#folder, 'server.conf')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child = child;
    let log = '';
    child.stderr?.on('data', (data) => {
      log = `${log}${data}`.slice(-4_000);
    });
    await until('a connection to nats-server', async () => {
      if (child.exitCode !== null) throw new Error(`nats-server ended with ${child.exitCode}: ${log}`);
      return await isOpen(this.port);
    });
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  /** Kills it, and resolves once it is gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
    this.#child = undefined;
  }

  /** Kills it, and starts it again after a time. */
  async restart(afterMs = 0): Promise<void> {
    await this.kill();
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    await this.launch();
  }

  /** Ends it and deletes its folder. */
  async stop(): Promise<void> {
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** A loopback port that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const end = (is: boolean): void => {
      socket.destroy();
      resolve(is);
    };
    // The server greets a client once it is ready.
    socket.once('data', () => end(true));
    socket.once('error', () => end(false));
    socket.setTimeout(1_000, () => end(false));
  });
}
