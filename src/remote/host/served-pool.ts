import {
  type Clock,
  type ClockTimer,
  fillOptions,
  millisecondsOrInfinity,
  type OptionTable,
  option,
  positiveIntegerUpTo,
  requireClock,
  required,
  requirePositiveInteger,
  requireString,
  type Settings,
  scheduleMacrotask,
  systemClock,
} from '../../core/index.js';
import { type Pool, type PoolCallOptions, PoolClosedError, PoolOverloadedError } from '../../pool/index.js';
import { intakeOf, type ModelIntake } from '../../pool/internal.js';
import { inNeutralContext } from '../../worker/internal.js';
import type { Bus, BusMessage, BusSubscription } from '../bus.js';
import { NotServedError, RemoteProtocolError } from '../errors.js';
import { requireBus } from '../require-bus.js';
import { type HostAddress, requireToken, Subjects, uniqueToken } from '../subjects.js';
import { Kind, readMessage, VERSION, writeMessage } from '../wire/messages.js';
import { MAX_BODY_BYTES } from '../wire/transfers.js';
import { loadValueCodec, type ValueCodec } from '../wire/value-codec.js';
import { KeptAnswers } from './answers.js';
import type { HostCall } from './host-call.js';
import { Places } from './places.js';
import { Session } from './session.js';

/** Options of {@link servePool}. */
export interface ServePoolOptions {
  /** The network. It stays open when the host is closed. */
  readonly bus: Bus;
  /** The name under which callers find it: letters, digits, `-` and `_`. All hosts of a service offer the same. */
  readonly service: string;
  /** The operations that may be called from elsewhere. No other can. */
  readonly operations: readonly string[];
  /** The key of the model. The only one that is registered by default. */
  readonly model?: string | undefined;
  /** The host's name, to which rights are given. A random one by default. */
  readonly name?: string | undefined;
  /** How many calls it has at once at most. As many as the model's workers have places by default. */
  readonly places?: number | undefined;
  /** The largest input and output, in bytes. 32 MiB by default, and at most 1 GiB. */
  readonly maxBodyBytes?: number | undefined;
  /** The time source. */
  readonly clock?: Clock | undefined;
}

/** Options of {@link ServedPool.close}. */
export interface ServedPoolCloseOptions {
  /** How long calls that were accepted may take to finish, in ms. 5,000 by default. */
  readonly timeoutMs?: number | undefined;
}

const OPTIONS = {
  bus: required(requireBus),
  service: required(requireToken),
  operations: required(requireNames),
  model: option(requireString),
  name: option(requireToken),
  places: option(requirePositiveInteger, Number.MAX_SAFE_INTEGER),
  maxBodyBytes: option(positiveIntegerUpTo(1_073_741_824), MAX_BODY_BYTES),
  clock: option(requireClock, systemClock),
} satisfies OptionTable<ServePoolOptions>;
const CLOSE_OPTIONS = {
  timeoutMs: option(millisecondsOrInfinity, 5_000),
} satisfies OptionTable<ServedPoolCloseOptions>;

type ServeSettings = Settings<typeof OPTIONS>;

/** How often a host looks whether the callers of its calls are there, in ms, and how long they may be silent before it asks the bus. */
const CHECK_MS = 500;
const SILENT_MS = 1_000;
/** How long a caller without calls may be silent before it is forgotten, in ms. */
const FORGET_MS = 60_000;
/** After its own reconnect a host believes for so long that callers may just not be there again, in ms. */
const GRACE_MS = 4_000;
/** For how long a call may hold a place whose input does not come, in ms. */
const STALLED_MS = 2_000;
const MAX_SESSIONS = 100_000;
const MAX_LOOK_AHEAD = 64;

/** What a host has done and is doing. */
export interface ServedPoolStats {
  /** Calls that were let in. */
  readonly accepted: number;
  /** Calls that have had their final message. `accepted = settled + pending` at any moment. */
  readonly settled: number;
  readonly pending: number;
  /** Calls that were turned away because there was no place. Nothing of them was run. */
  readonly busy: number;
  /** Calls that came again while they were here. */
  readonly duplicates: number;
  /** Answers that were sent again. */
  readonly resent: number;
  /** Messages that were none, or came from nowhere. */
  readonly malformed: number;
  /** Callers. */
  readonly sessions: number;
  /** Callers that wait for a place. */
  readonly waiting: number;
  readonly places: number;
  readonly freePlaces: number;
  /** How many calls it lets in beyond its places, because callers are far away in relation to how long calls take. */
  readonly lookAhead: number;
  /** Bytes of answers that are kept for callers that may have lost them. */
  readonly keptAnswersBytes: number;
  readonly bytesReceived: number;
  readonly bytesSent: number;
}

/** A pool that is offered to callers elsewhere. Made by {@link servePool}. */
export class ServedPool implements AsyncDisposable {
  /** The host's name. */
  readonly name: string;
  readonly service: string;
  /** @internal */
  readonly clock: Clock;
  /** @internal */
  readonly bus: Bus;
  /** @internal */
  readonly codec: ValueCodec;
  /** @internal */
  readonly intake: ModelIntake;
  /** @internal */
  readonly operations: ReadonlySet<string>;
  /** @internal */
  readonly maxBodyBytes: number;
  /** @internal */
  readonly places: Places;
  /** @internal */
  readonly kept: KeptAnswers;
  /** @internal */
  readonly counts = { accepted: 0, settled: 0, busy: 0, duplicates: 0, resent: 0, malformed: 0, received: 0, sent: 0 };
  readonly #subjects: Subjects;
  readonly #address: HostAddress;
  readonly #sessions = new Map<string, Session>();
  readonly #subscriptions: BusSubscription[] = [];
  readonly #stops: (() => void)[] = [];
  #arrived: { readonly session: Session; readonly call: HostCall }[] = [];
  #timer: ClockTimer | undefined;
  #timerMs = 0;
  #connectedAt = Number.NEGATIVE_INFINITY;
  #roundTripMs: number | undefined;
  #onQuiet: (() => void)[] = [];
  #drained: Promise<void> | undefined;
  #closed: Promise<void> | undefined;
  #isOver = false;

  /** @internal */
  constructor(intake: ModelIntake, codec: ValueCodec, settings: ServeSettings) {
    const { bus, clock, service, operations, name, places, maxBodyBytes } = settings;
    this.#subjects = new Subjects(service);
    this.#address = { name: name ?? `host-${uniqueToken()}`, instance: uniqueToken() };
    this.name = this.#address.name;
    this.service = service;
    this.bus = bus;
    this.clock = clock;
    this.codec = codec;
    this.intake = intake;
    this.operations = new Set(operations);
    this.maxBodyBytes = maxBodyBytes;
    this.places = new Places(intake, clock, places);
    this.kept = new KeptAnswers(clock);
  }

  /** @internal */
  async begin(): Promise<void> {
    const { bus } = this;
    const subject = this.#subjects.host(this.#address);
    const hear = (message: BusMessage): void => inNeutralContext(() => this.#receive(message));
    this.#subscriptions.push(
      bus.subscribe(subject, hear),
      bus.subscribe(`${subject}.*`, hear),
      bus.subscribe(this.#subjects.who, (message) => this.#onWho(message)),
    );
    this.#stops.push(
      this.intake.watch(() => this.places.offer()),
      bus.watch((status) => {
        if (status === 'connected') this.#connected();
        if (status === 'closed') void this.destroy(new Error('the bus was closed'));
      }),
    );
    if (bus.status !== 'connected') return;
    await bus.flush();
    this.#connected();
  }

  /** What the host has done and is doing. */
  stats(): ServedPoolStats {
    const { accepted, settled, busy, duplicates, resent, malformed, received, sent } = this.counts;
    return {
      accepted,
      settled,
      pending: accepted - settled,
      busy,
      duplicates,
      resent,
      malformed,
      sessions: this.#sessions.size,
      waiting: this.places.waiting,
      places: this.places.total,
      freePlaces: this.freePlaces,
      lookAhead: this.places.lookAhead,
      keptAnswersBytes: this.kept.bytes,
      bytesReceived: received,
      bytesSent: sent,
    };
  }

  /**
   * Calls an operation of the pool in the way that callers elsewhere do: one that is not served, or finds no place, is refused.
   *
   * **Cancel safety:** the message goes with the call.
   *
   * @returns A promise of the output; for a stream operation, the stream of its chunks.
   * @throws NotServedError When the operation is not offered.
   * @throws PoolOverloadedError When no place is free.
   */
  call(operation: string, input: unknown, options: PoolCallOptions = {}): unknown {
    if (!this.operations.has(operation)) {
      throw new NotServedError(`Cannot call ${operation}: ${this.service} does not serve it`, operation);
    }
    if (this.places.free <= 0) {
      throw new PoolOverloadedError(`Cannot call ${operation}: ${this.name} has no free place`, this.retryAfterMs);
    }
    return this.intake.call(operation, input, options);
  }

  /**
   * Takes no more calls, and resolves once every accepted one is answered and its answer is on its way. The pool goes on.
   *
   * **Cancel safety:** takes no signal; calling it again answers with the same promise.
   */
  drain(): Promise<void> {
    this.#drained ??= this.#drain();
    return this.#drained;
  }

  /**
   * Drains for at most `timeoutMs`, then aborts what is left, and resolves once the host is gone from the bus. The pool goes on.
   *
   * **Cancel safety:** takes no signal; calling it again answers with the same promise.
   */
  close(options?: ServedPoolCloseOptions): Promise<void> {
    const { timeoutMs } = fillOptions('Cannot close host', options, CLOSE_OPTIONS);
    this.#closed ??= this.#close(timeoutMs);
    return this.#closed;
  }

  /**
   * Aborts every call, whose caller hears that the host is gone, and resolves once it is.
   *
   * **Cancel safety:** takes no signal.
   */
  async destroy(reason?: unknown): Promise<void> {
    if (this.#isOver) return;
    const cause = reason ?? new Error('the host was destroyed');
    this.places.close();
    this.#say('left');
    for (const session of this.#sessions.values()) session.end(new PoolClosedError('the host is gone', { cause }));
    this.#end();
    if (this.bus.status === 'connected') await this.bus.flush().catch(() => {});
  }

  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @internal */
  get freePlaces(): number {
    return Math.max(0, this.places.free);
  }

  /** @internal */
  get retryAfterMs(): number {
    return this.intake.retryAfterMs;
  }

  /** @internal */
  post(session: Session, id: number, header: readonly unknown[], body?: Uint8Array): void {
    // Without a connection it is lost: a caller asks again for what it misses.
    if (this.bus.status !== 'connected') return;
    const message = writeMessage(this.codec, header, body);
    this.counts.sent += message.length;
    this.bus.publish(`${session.inbox}.${id}`, message);
  }

  /** A call has come in: it is begun once all that came in with it has been read. @internal */
  arrived(session: Session, call: HostCall): void {
    if (this.#arrived.length === 0) scheduleMacrotask(() => this.#beginArrived());
    this.#arrived.push({ session, call });
    this.#watchCallers();
  }

  /** A call has had its final message. @internal */
  finished(): void {
    this.places.offer();
    if (this.counts.accepted === this.counts.settled) for (const resolve of this.#onQuiet.splice(0)) resolve();
  }

  /** A caller is gone. @internal */
  forget(session: Session, reason: unknown): void {
    if (!this.#sessions.delete(session.inbox)) return;
    this.places.unlist(session);
    session.end(reason);
    while (session.reserved > 0) this.places.decline(session);
    this.finished();
  }

  /**
   * A caller says how long a round trip takes. Calls that take less than that leave a place empty while the next is on its way: so many more are let in.
   *
   * @internal
   */
  observeRoundTrip(ms: number | undefined): void {
    if (ms === undefined || ms < 0) return;
    this.#roundTripMs = this.#roundTripMs === undefined ? ms : this.#roundTripMs * 0.9 + ms * 0.1;
    const { serviceMs, capacity } = this.intake;
    if (serviceMs === undefined) return;
    const perPlace = Math.round((2 * this.#roundTripMs) / Math.max(serviceMs, 0.01));
    this.places.lookAhead = Math.min(MAX_LOOK_AHEAD, perPlace * Math.min(capacity, MAX_LOOK_AHEAD));
  }

  // --- what comes in

  #receive({ data, reply, subject, isUndeliverable }: BusMessage): void {
    if (isUndeliverable) {
      this.#onCallerGone(subject.slice(subject.lastIndexOf('.') + 1));
      return;
    }
    this.counts.received += data.length;
    if (reply === undefined || !this.#subjects.isInbox(reply)) {
      this.counts.malformed += 1;
      return;
    }
    const inbox = reply.slice(0, reply.lastIndexOf('.'));
    try {
      const message = readMessage(this.codec, data);
      let session = this.#sessions.get(inbox);
      if (session === undefined) {
        if (message.kind === Kind.Bye || this.#sessions.size >= MAX_SESSIONS) return;
        session = new Session(this, inbox);
        this.#sessions.set(inbox, session);
        this.#watchCallers();
      }
      session.lastHeardAt = this.clock.now();
      session.receive(message);
      if (this.places.isClosed) this.post(session, 0, [Kind.Leaving, 0]);
    } catch (error) {
      if (!(error instanceof RemoteProtocolError)) throw error;
      this.counts.malformed += 1;
      // A caller of another version is told by name; other nonsense is dropped.
      if (data.length > 0 && data[0] !== VERSION) this.#refuseVersion(reply, error);
    }
  }

  #refuseVersion(reply: string, error: RemoteProtocolError): void {
    const id = Number(reply.slice(reply.lastIndexOf('.') + 1));
    const body = this.codec.encode(error);
    this.bus.publish(reply, writeMessage(this.codec, [Kind.Fault, id, this.freePlaces], body));
  }

  #onWho({ reply }: BusMessage): void {
    if (this.places.isClosed || reply === undefined || !this.#subjects.isInbox(reply)) return;
    this.bus.publish(reply, this.#hello('joined'));
  }

  #hello(status: 'joined' | 'draining' | 'left'): Uint8Array {
    const { name, instance } = this.#address;
    return writeMessage(this.codec, [Kind.Hello, name, instance, status, this.places.total]);
  }

  #say(status: 'joined' | 'draining' | 'left'): void {
    if (this.bus.status === 'connected') this.bus.publish(this.#subjects.hello(this.name), this.#hello(status));
  }

  #connected(): void {
    this.#connectedAt = this.clock.now();
    this.#say(this.places.isClosed ? 'draining' : 'joined');
  }

  #beginArrived(): void {
    const arrived = this.#arrived;
    this.#arrived = [];
    inNeutralContext(() => {
      for (const { session, call } of arrived) session.begin(call);
    });
  }

  // --- callers that are gone

  #watchCallers(): void {
    if (this.#isOver || this.#sessions.size === 0 || (this.#timer !== undefined && this.#timerMs === CHECK_MS)) return;
    const ms = this.#hasCalls() ? CHECK_MS : FORGET_MS;
    if (this.#timer !== undefined && this.#timerMs <= ms) return;
    this.#timer?.cancel();
    this.#timerMs = ms;
    this.#timer = inNeutralContext(() => this.clock.setTimer(() => this.#checkCallers(), ms));
  }

  #hasCalls(): boolean {
    for (const session of this.#sessions.values()) if (session.calls.size > 0) return true;
    return false;
  }

  #checkCallers(): void {
    this.#timer = undefined;
    const now = this.clock.now();
    for (const session of [...this.#sessions.values()]) {
      const silentMs = now - session.lastHeardAt;
      session.dropStalled(now - STALLED_MS);
      if (session.calls.size === 0) {
        if (silentMs >= FORGET_MS) this.forget(session, undefined);
      } else if (silentMs >= SILENT_MS && this.bus.status === 'connected') {
        const token = session.inbox.slice(session.inbox.lastIndexOf('.') + 1);
        const reply = `${this.#subjects.host(this.#address)}.${token}`;
        this.bus.publish(`${session.inbox}.0`, writeMessage(this.codec, [Kind.Check, 0]), { reply });
      }
    }
    this.#watchCallers();
  }

  #onCallerGone(token: string): void {
    if (this.clock.now() - this.#connectedAt < GRACE_MS) return;
    for (const session of this.#sessions.values()) {
      if (session.inbox.endsWith(`.${token}`)) this.forget(session, new Error('the caller is gone'));
    }
  }

  // --- the end

  async #drain(): Promise<void> {
    this.places.close();
    this.#say('draining');
    for (const session of this.#sessions.values()) this.post(session, 0, [Kind.Leaving, 0]);
    if (this.counts.accepted !== this.counts.settled) {
      await new Promise<void>((resolve) => this.#onQuiet.push(resolve));
    }
    // Calls on their way are still to be turned away, so that their callers go elsewhere at once.
    await Promise.all(this.#subscriptions.map((each) => each.drain()));
    await new Promise<void>((resolve) => scheduleMacrotask(resolve));
    if (this.bus.status === 'connected') await this.bus.flush().catch(() => {});
  }

  async #close(timeoutMs: number): Promise<void> {
    const drained = this.drain().then(() => true);
    const isDrained = await new Promise<boolean>((resolve) => {
      const timer = this.clock.setTimer(() => resolve(false), timeoutMs, { ref: true });
      void drained.then(() => {
        timer.cancel();
        resolve(true);
      });
    });
    await this.destroy(isDrained ? undefined : new Error(`not finished within ${timeoutMs} ms`));
  }

  #end(): void {
    this.#isOver = true;
    this.#timer?.cancel();
    this.kept.close();
    for (const stop of this.#stops) stop();
    for (const each of this.#subscriptions) each.unsubscribe();
    this.#sessions.clear();
    for (const resolve of this.#onQuiet.splice(0)) resolve();
  }
}

/**
 * Offers operations of a pool to callers on other machines, which reach them through {@link createRemotePool}.
 *
 * The pool's own rules hold for their calls: its classes and shares, its breaker, its `reserve`. A call that finds no place is turned away before its
 * input is read, and runs on another host. Other callers of the pool in this process go on as before.
 *
 * @param pool The pool, with a model registered.
 * @param options See {@link ServePoolOptions}; unknown keys are refused.
 * @returns The host, once callers can find it. `await using` closes it. The pool and the bus stay open.
 * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown, or the model has no such operation.
 * @throws MissingPackageError When `@msgpack/msgpack` is not installed.
 * @example
 * ```ts
 * const network = new SimulatedBus();
 * const pool = createPool();
 * pool.register('text', {
 *   operations: { upper: operation<string, string>() },
 *   load: () => ({ upper: (input: string) => input.toUpperCase() }),
 * });
 * const host = await servePool(pool, { bus: network.connect(), service: 'text', operations: ['upper'], name: 'one' });
 * host.name; // => 'one'
 * await host.close();
 * await pool.close();
 * ```
 */
export async function servePool(pool: Pool, options: ServePoolOptions): Promise<ServedPool> {
  const settings: ServeSettings = fillOptions(ACTION, options, OPTIONS);
  const intake = requireIntake(pool, settings.model);
  for (const name of settings.operations) {
    if (Object.hasOwn(intake.operations, name)) continue;
    const known = Object.keys(intake.operations).join(', ');
    throw new TypeError(`${ACTION}: operations must be some of ${known}, received '${name}'`);
  }
  const host = new ServedPool(intake, await loadValueCodec(), settings);
  await host.begin();
  return host;
}

const ACTION = 'Cannot serve pool';

function requireIntake(pool: Pool, key: string | undefined): ModelIntake {
  const { keys } = pool;
  const chosen = key ?? (keys.length === 1 ? (keys[0] as string) : undefined);
  const intake = chosen === undefined ? undefined : intakeOf(pool, chosen);
  if (intake !== undefined) return intake;
  const known = keys.length === 0 ? 'of which there are none' : keys.join(', ');
  throw new TypeError(`${ACTION}: model must be one of the registered models, ${known}, received ${key ?? 'none'}`);
}

function requireNames(action: string, name: string, value: unknown): readonly string[] {
  if (!Array.isArray(value) || value.length === 0) {
    throw new TypeError(`${action}: ${name} must be a list of names of operations`);
  }
  return value.map((each) => requireString(action, name, each));
}
