/**
 * From host names to addresses, without a thread of libuv's pool for each: `getaddrinfo` keeps one for as long as a name server does not answer, and a
 * few dead names would hold up every other. So names are asked for over sockets. The system's own look-up comes in only for what it alone knows (names
 * without a dot, search domains, other sources of names), and no more than {@link SYSTEM_LOOKUPS} at a time.
 */

import { lookup, Resolver } from 'node:dns/promises';
import { readFile, stat } from 'node:fs/promises';
import { connect, isIP, type Socket } from 'node:net';
import path from 'node:path';
import PQueue from 'p-queue';
import type { HostAddress } from './url-policy.js';

/** What answers questions; tests give their own. */
export interface ResolverParts {
  readonly resolve4?: (name: string) => Promise<readonly string[]>;
  readonly resolve6?: (name: string) => Promise<readonly string[]>;
  /** The system's own look-up, which takes a thread. */
  readonly lookup?: (name: string) => Promise<readonly HostAddress[]>;
  /** The text of the hosts file. */
  readonly readHosts?: () => Promise<string>;
  /** The time, in ms. */
  readonly now?: () => number;
}

const SYSTEM_LOOKUPS = 2;
/** How long an answer is shared, in ms: too short for a name's own time to live to matter. */
const SHARED_MS = 30_000;
const FAILURE_SHARED_MS = 5_000;
const MAX_ANSWERS = 2_000;
/** How long the second family is waited for once the first has addresses, in ms. */
const SECOND_FAMILY_MS = 250;
const SERVER_TIMEOUT_MS = 2_000;
/** The name servers are read from the system's settings again after this time. */
const RESOLVER_MS = 60_000;

interface Answer {
  readonly addresses: Promise<readonly HostAddress[]>;
  until: number;
}

/** Resolves host names, and shares answers for a while. */
export class HostResolver {
  readonly #parts: Required<ResolverParts>;
  readonly #answers = new Map<string, Answer>();
  readonly #system = new PQueue({ concurrency: SYSTEM_LOOKUPS });

  constructor(parts: ResolverParts = {}) {
    const now = parts.now ?? (() => performance.now());
    const servers = systemServers(now);
    this.#parts = {
      resolve4: (name) => servers().resolve4(name),
      resolve6: (name) => servers().resolve6(name),
      lookup: async (name) => (await lookup(name, { all: true })) as readonly HostAddress[],
      readHosts: hostsReader(),
      ...parts,
      now,
    };
  }

  /**
   * The addresses of a name.
   *
   * @param onBegin Called when a look-up begins that had to wait for others.
   */
  resolve(name: string, onBegin?: () => void): Promise<readonly HostAddress[]> {
    const key = name.toLowerCase();
    const { now } = this.#parts;
    const known = this.#answers.get(key);
    if (known !== undefined && now() < known.until) return known.addresses;
    const answer: Answer = { addresses: this.#ask(key, onBegin), until: Number.POSITIVE_INFINITY };
    // Last in the order of age.
    this.#answers.delete(key);
    this.#answers.set(key, answer);
    answer.addresses.then(
      () => (answer.until = now() + SHARED_MS),
      () => (answer.until = now() + FAILURE_SHARED_MS),
    );
    for (const oldest of this.#answers.keys()) {
      if (this.#answers.size <= MAX_ANSWERS) break;
      this.#answers.delete(oldest);
    }
    return answer.addresses;
  }

  async #ask(name: string, onBegin: (() => void) | undefined): Promise<readonly HostAddress[]> {
    const listed = addressesInHosts(await this.#parts.readHosts().catch(() => ''), name);
    if (listed.length > 0) return listed;
    if (isLocalName(name)) return this.#askSystem(name, onBegin);
    try {
      return await this.#askServers(name);
    } catch (error) {
      // Servers that do not answer would not answer the system either, which would keep a thread waiting for them.
      if ((error as NodeJS.ErrnoException).code === 'ETIMEOUT') throw error;
      return this.#askSystem(name, onBegin);
    }
  }

  async #askServers(name: string): Promise<readonly HostAddress[]> {
    const { resolve4, resolve6 } = this.#parts;
    const families = [
      resolve4(name).then((found) => found.map((address): HostAddress => ({ address, family: 4 }))),
      resolve6(name).then((found) => found.map((address): HostAddress => ({ address, family: 6 }))),
    ] as const;
    let patience: NodeJS.Timeout | undefined;
    const enough = new Promise<void>((resolve) => {
      for (const family of families) {
        family.then(
          (found) => {
            if (found.length > 0) patience ??= setTimeout(resolve, SECOND_FAMILY_MS);
          },
          () => {},
        );
      }
    });
    const addresses: HostAddress[] = [];
    const failures: unknown[] = [];
    const settled = families.map((family) =>
      family.then(
        (found) => void addresses.push(...found),
        (error: unknown) => void failures.push(error),
      ),
    );
    await Promise.race([enough, Promise.all(settled)]);
    clearTimeout(patience);
    if (addresses.length > 0) return addresses.sort((one, other) => one.family - other.family);
    throw failures.find((error) => (error as NodeJS.ErrnoException).code === 'ETIMEOUT') ?? failures[0] ?? noAddress();
  }

  async #askSystem(name: string, onBegin: (() => void) | undefined): Promise<readonly HostAddress[]> {
    return this.#system.add(() => {
      onBegin?.();
      return this.#parts.lookup(name);
    });
  }
}

function noAddress(): Error {
  return Object.assign(new Error('the name has no address'), { code: 'ENODATA' });
}

/** Names that no name server of the internet is asked for. */
function isLocalName(name: string): boolean {
  return !name.includes('.') || /\.(?:localhost|local)$/.test(name);
}

function systemServers(now: () => number): () => Resolver {
  let resolver: Resolver | undefined;
  let madeAt = 0;
  return () => {
    if (resolver === undefined || now() - madeAt > RESOLVER_MS) {
      resolver = new Resolver({ timeout: SERVER_TIMEOUT_MS, tries: 2 });
      madeAt = now();
    }
    return resolver;
  };
}

/** Reads the hosts file again when it has changed. */
function hostsReader(): () => Promise<string> {
  const file =
    process.platform === 'win32'
      ? path.join(process.env.SystemRoot ?? 'C:\\Windows', 'System32', 'drivers', 'etc', 'hosts')
      : '/etc/hosts';
  let known: { readonly mtimeMs: number; readonly size: number; readonly text: string } | undefined;
  return async () => {
    const { mtimeMs, size } = await stat(file);
    if (known?.mtimeMs !== mtimeMs || known.size !== size)
      known = { mtimeMs, size, text: await readFile(file, 'utf8') };
    return known.text;
  };
}

function addressesInHosts(text: string, name: string): HostAddress[] {
  const found: HostAddress[] = [];
  for (const line of text.split('\n')) {
    const [address = '', ...names] = (line.split('#', 1)[0] as string).trim().split(/\s+/);
    if (!names.some((each) => each.toLowerCase() === name)) continue;
    const family = isIP(address);
    if (family !== 0) found.push({ address, family: family as 4 | 6 });
  }
  return found;
}

/** Begins a connection; tests give their own. */
export type Dial = (address: HostAddress, port: number) => Socket;

const NEXT_MS = 250;

const dialDirectly: Dial = ({ address, family }, port) => connect({ host: address, port, family });

/** Answers a connected socket, and lets go of all others. Ends with the signal. */
export async function connectAny(
  addresses: readonly HostAddress[],
  port: number,
  signal: AbortSignal,
  dial: Dial = dialDirectly,
): Promise<Socket> {
  signal.throwIfAborted();
  const waiting = inTurn(addresses);
  const under = new Set<Socket>();
  const failures: unknown[] = [];
  let timer: NodeJS.Timeout | undefined;
  let stop: (() => void) | undefined;
  try {
    return await new Promise<Socket>((resolve, reject) => {
      stop = () => reject(signal.reason);
      signal.addEventListener('abort', stop, { once: true });
      const next = (): void => {
        clearTimeout(timer);
        const address = waiting.shift();
        if (address === undefined) {
          if (under.size === 0) reject(failures[0]);
          return;
        }
        const socket = dial(address, port);
        under.add(socket);
        socket.once('connect', () => {
          under.delete(socket);
          // Until its new owner listens, an error without a listener would end the process.
          socket.removeAllListeners('error').on('error', () => {});
          resolve(socket);
        });
        socket.once('error', (error) => {
          under.delete(socket);
          failures.push(error);
          next();
        });
        timer = setTimeout(next, NEXT_MS);
      };
      next();
    });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop as () => void);
    for (const socket of under) {
      socket.on('error', () => {});
      socket.destroy();
    }
  }
}

/** Alternates the families, so that one that does not work costs one step. */
function inTurn(addresses: readonly HostAddress[]): HostAddress[] {
  const first = addresses[0]?.family;
  const mine = addresses.filter(({ family }) => family === first);
  const others = addresses.filter(({ family }) => family !== first);
  return mine.flatMap((each, index) => [each, ...others.slice(index, index + 1)]).concat(others.slice(mine.length));
}
