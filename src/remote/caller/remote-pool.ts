import {
  type Clock,
  fillOptions,
  millisecondsOrInfinity,
  type OptionTable,
  option,
  positiveIntegerUpTo,
  requireClock,
  required,
  requireMilliseconds,
  requireString,
  systemClock,
} from '../../core/index.js';
import {
  type CommonModelOptions,
  createPool,
  MemoryGovernor,
  type MetricsRegistry,
  type ModelHandle,
  type ModelOptions,
  type Pool,
  type PoolCloseOptions,
  type PoolEvent,
  type PoolHealth,
  type PoolStats,
  type Routing,
} from '../../pool/index.js';
import type { InternalPoolOptions } from '../../pool/internal.js';
import type { Operations } from '../../worker/index.js';
import type { Bus } from '../bus.js';
import { requireBus } from '../require-bus.js';
import { requireToken, uniqueToken } from '../subjects.js';
import { MAX_BODY_BYTES } from '../wire/transfers.js';
import { HostFinder } from './host-finder.js';

/** Options of {@link createRemotePool}. */
export interface RemotePoolOptions {
  /** The network. It stays open when the pool is closed. */
  readonly bus: Bus;
  /** The caller's name, to which rights are given: letters, digits, `-` and `_`. A random one by default. */
  readonly caller?: string | undefined;
  /** The pool's name, in events, metrics and errors. `'remote'` by default. */
  readonly name?: string | undefined;
  /** How often a host that has calls is asked whether it is there, in ms. 250 by default. */
  readonly probeMs?: number | undefined;
  /** For how long a host may say nothing before its idempotent calls are run elsewhere too, in ms. 1,000 by default. */
  readonly suspectMs?: number | undefined;
  /** How long calls wait while no host is there, in ms, or `Infinity` for as long as their deadlines allow. 5,000 by default. */
  readonly hostWaitMs?: number | undefined;
  /** The largest input and output, in bytes. 32 MiB by default. */
  readonly maxBodyBytes?: number | undefined;
  /** How long `close()` lets accepted requests finish, in ms. 5,000 by default. */
  readonly shutdownMs?: number | undefined;
  /** A prom-client registry to put the metrics into. A private one by default. */
  readonly registry?: MetricsRegistry | undefined;
  /** The time source. */
  readonly clock?: Clock | undefined;
}

/** Options of {@link RemotePool.connect}: those of a model that are its caller's. */
export type ConnectOptions<Ops extends Operations> = Pick<
  CommonModelOptions<Ops>,
  'operations' | 'timeoutMs' | 'retries' | 'queueLimit' | 'shares' | 'breaker' | 'refuseEarly' | 'coalesce' | 'label'
>;

const OPTIONS = {
  bus: required(requireBus),
  caller: option(requireToken),
  name: option(requireString, 'remote'),
  probeMs: option(requireMilliseconds, 250),
  suspectMs: option(requireMilliseconds, 1_000),
  hostWaitMs: option(millisecondsOrInfinity, 5_000),
  maxBodyBytes: option(positiveIntegerUpTo(1_073_741_824), MAX_BODY_BYTES),
  shutdownMs: option(requireMilliseconds, 5_000),
  registry: option((_action, _name, value) => value as MetricsRegistry | undefined),
  clock: option(requireClock, systemClock),
} satisfies OptionTable<RemotePoolOptions>;
const CONNECT_KEYS = [
  'operations',
  'timeoutMs',
  'retries',
  'queueLimit',
  'shares',
  'breaker',
  'refuseEarly',
  'coalesce',
  'label',
] as const;

/** A host, as a caller sees it. */
export interface HostReport {
  readonly service: string;
  readonly name: string;
  /** Which start of the host it is. */
  readonly instance: string;
  /** `joining` until it has answered for the first time; `silent` while it says nothing. */
  readonly state: 'joining' | 'ready' | 'full' | 'silent' | 'leaving';
  /** How many calls it has at once at most. */
  readonly places: number;
  /** How many of them were free when it said so last, less those that were given to it since. */
  readonly freePlaces: number;
  /** Calls of this caller that it has. */
  readonly inFlight: number;
  /** How long a message takes there and back, in ms; undefined before that was measured. */
  readonly roundTripMs: number | undefined;
}

/** What a caller counts of the network beside what a pool counts. */
export interface RemoteCounts {
  /** Times that a host turned a call away; it then went elsewhere, or waited. */
  readonly busy: number;
  /** Calls that were sent again because they, or their answers, may have been lost. */
  readonly resent: number;
  /** Answers that came after their calls had been answered. */
  readonly late: number;
  /** Calls that were given to a second host because the first was silent. */
  readonly suspected: number;
  /** Messages that were none. */
  readonly malformed: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

/** What a remote pool has done and is doing. */
export interface RemotePoolStats extends PoolStats {
  readonly remote: RemoteCounts;
}

/** A pool whose workers are hosts on other machines. Made by {@link createRemotePool}. */
export class RemotePool implements AsyncDisposable {
  readonly #pool: Pool;
  readonly #finders: Map<string, HostFinder>;

  /** @internal */
  constructor(pool: Pool, finders: Map<string, HostFinder>) {
    this.#pool = pool;
    this.#finders = finders;
  }

  /** The pool's name. */
  get name(): string {
    return this.#pool.name;
  }

  /**
   * Connects to a service. Its hosts are found at once, those that start later when they do; calls made before wait for one.
   *
   * @param service The name that its hosts serve under.
   * @param options What the service can do, and the rules for its calls; unknown keys are refused.
   * @returns The model, typed by its operations: the same as `register()` of a local pool answers with.
   * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown, or the service is connected already.
   * @throws PoolClosedError When the pool is closing.
   * @example
   * ```ts
   * const network = new SimulatedBus();
   * const operations = { upper: operation<string, string>({ idempotent: true }) };
   * const pool = createPool();
   * pool.register('text', { operations, load: () => ({ upper: (input: string) => input.toUpperCase() }) });
   * const host = await servePool(pool, { bus: network.connect(), service: 'text', operations: ['upper'] });
   *
   * const remote = createRemotePool({ bus: network.connect() });
   * const text = remote.connect('text', { operations });
   * await text.call('upper', 'millrace'); // => 'MILLRACE'
   * await remote.close();
   * await host.close();
   * await pool.close();
   * ```
   */
  connect<const Ops extends Operations>(service: string, options: ConnectOptions<Ops>): ModelHandle<Ops> {
    const action = `Cannot connect to service '${requireToken('Cannot connect to service', 'service', service)}'`;
    for (const key of Object.keys(options)) {
      if (!(CONNECT_KEYS as readonly string[]).includes(key)) throw new TypeError(`${action}: unknown option '${key}'`);
    }
    const rules = {
      ...options,
      // A worker elsewhere needs neither, and no model of a pool is without one.
      module: 'remote:',
      host: 'process',
      routing: byBelievedRoom(() => this.#finders.get(service)),
      maxWorkers: 1,
    };
    return this.#pool.register(service, rules as unknown as ModelOptions<Ops>);
  }

  /**
   * Ends the connection to a service: new calls are refused at once, accepted ones are finished for at most `timeoutMs`.
   *
   * **Cancel safety:** takes no signal.
   *
   * @returns False when no such service is connected.
   */
  async disconnect(service: string, options?: PoolCloseOptions): Promise<boolean> {
    const isKnown = await this.#pool.unregister(service, options);
    this.#finders.delete(service);
    return isKnown;
  }

  /**
   * Waits until hosts of a service are there.
   *
   * **Cancel safety:** takes no signal.
   *
   * @param count How many.
   */
  async ready(service: string, count = 1): Promise<void> {
    await this.#pool.warm(service, count);
  }

  /** The hosts that are known, as they were when they were last heard. */
  hosts(): HostReport[] {
    const reports: HostReport[] = [];
    for (const [service, { hosts }] of this.#finders) {
      for (const host of hosts) {
        const { current } = host.state;
        const open = host.isFull ? 'full' : 'ready';
        const live = host.isSilent() ? 'silent' : open;
        reports.push({
          service,
          name: host.address.name,
          instance: host.address.instance,
          state: current === 'loading' ? 'joining' : current === 'evicting' ? 'leaving' : live,
          places: host.places,
          freePlaces: host.freePlaces,
          inFlight: host.held.size,
          roundTripMs: host.roundTripMs,
        });
      }
    }
    return reports;
  }

  /** How the pool and each of its services are, now. No host is asked. */
  health(): PoolHealth {
    return this.#pool.health();
  }

  /** What became of the calls; `accepted = succeeded + failed + expired + cancelled + pending` at any moment. */
  stats(): RemotePoolStats {
    const sum = { busy: 0, resent: 0, late: 0, suspected: 0, malformed: 0, bytesSent: 0, bytesReceived: 0 };
    for (const { counts } of this.#finders.values()) {
      sum.busy += counts.busy;
      sum.resent += counts.resent;
      sum.late += counts.late;
      sum.suspected += counts.suspected;
      sum.malformed += counts.malformed;
      sum.bytesSent += counts.sent;
      sum.bytesReceived += counts.received;
    }
    return { ...this.#pool.stats(), remote: sum };
  }

  /**
   * The metrics as Prometheus text. Needs the package `prom-client`.
   *
   * @throws MissingPackageError When `prom-client` is not installed.
   */
  async metrics(): Promise<string> {
    return await this.#pool.metrics();
  }

  /** What happens in the pool's life from now on; a worker in it is a host. */
  events(): AsyncIterableIterator<PoolEvent, void, void> {
    return this.#pool.events();
  }

  /**
   * Takes no more calls, and resolves once every accepted one is answered.
   *
   * **Cancel safety:** takes no signal.
   */
  drain(): Promise<void> {
    return this.#pool.drain();
  }

  /**
   * Drains for at most `timeoutMs`, then answers what is left with `PoolClosedError`, and takes leave of the hosts. The bus stays open.
   *
   * **Cancel safety:** takes no signal; calling it again answers with the same promise.
   */
  close(options?: PoolCloseOptions): Promise<void> {
    return this.#pool.close(options);
  }

  /**
   * Answers every call now with `PoolClosedError`, whose `cause` is the reason, and takes leave of the hosts.
   *
   * **Cancel safety:** takes no signal.
   */
  destroy(reason?: unknown): Promise<void> {
    return this.#pool.destroy(reason);
  }

  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Of two hosts at random the one with more room, as far as it is known. */
function byBelievedRoom(finder: () => HostFinder | undefined, random: () => number = Math.random): Routing {
  return (candidates) => {
    const count = candidates.length;
    const index = Math.floor(random() * count);
    const first = candidates[index] as (typeof candidates)[number];
    if (count === 1) return first;
    let other = Math.floor(random() * (count - 1));
    if (other >= index) other += 1;
    const second = candidates[other] as typeof first;
    let [firstRoom, secondRoom] = [first.window - first.pending, second.window - second.pending];
    for (const { id, places, freePlaces } of finder()?.hosts ?? []) {
      if (id === first.id) firstRoom = freePlaces / Math.max(1, places);
      else if (id === second.id) secondRoom = freePlaces / Math.max(1, places);
    }
    return secondRoom > firstRoom ? second : first;
  };
}

/**
 * Creates a pool whose workers are hosts on other machines: each is a pool that was offered by {@link servePool}.
 *
 * Calls wait here, and go to a host only when it has a place for them. They keep everything that a local pool gives: classes, deadlines, aborts,
 * retries, the breaker, coalescing, streams, the ledger. A host that dies is noticed within a quarter of a second while it has calls: those of idempotent
 * operations are run on another one, others fail with {@link HostLostError}.
 *
 * @param options See {@link RemotePoolOptions}; unknown keys are refused.
 * @returns The pool. `await using` closes it.
 * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown.
 * @example
 * ```ts
 * const remote = createRemotePool({ bus: new SimulatedBus().connect() });
 * remote.hosts(); // => []
 * await remote.close();
 * ```
 */
export function createRemotePool(options: RemotePoolOptions): RemotePool {
  const settings = fillOptions('Cannot create remote pool', options, OPTIONS);
  const { bus, clock, hostWaitMs, maxBodyBytes, name, probeMs, registry, shutdownMs, suspectMs } = settings;
  const caller = settings.caller ?? `caller-${uniqueToken()}`;
  const finders = new Map<string, HostFinder>();
  const find = (service: string): HostFinder => {
    const finder = new HostFinder({
      bus,
      clock,
      hostWaitMs,
      maxBodyBytes,
      name: caller,
      service,
      times: { probeMs, suspectMs },
    });
    finders.set(service, finder);
    return finder;
  };
  const pool = createPool({
    name,
    clock,
    shutdownMs,
    find,
    governor: new MemoryGovernor({ limitBytes: 0, clock }),
    ...(registry === undefined ? {} : { registry }),
  } as InternalPoolOptions);
  return new RemotePool(pool, finders);
}
