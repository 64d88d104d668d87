/**
 * The hosts of one service: finds them, hands each of their messages to the session that it belongs to, and tells the pool which are there.
 *
 * Invariants:
 * - A host is known by its name and instance. One that starts again is another host; the former one is over as soon as its word, or the bus, says so.
 * - What came to an inbox that no session of this caller has is dropped.
 */
import type { Clock, ClockTimer } from '../../core/index.js';
import type { WorkerFinder, WorkerSource } from '../../pool/internal.js';
import { inNeutralContext, type Request } from '../../worker/internal.js';
import type { Bus, BusMessage, BusSubscription } from '../bus.js';
import { NoHostError, RemoteProtocolError } from '../errors.js';
import { type HostAddress, Subjects, uniqueToken } from '../subjects.js';
import { Kind, readMessage, textIn, writeMessage } from '../wire/messages.js';
import { loadValueCodec, type ValueCodec } from '../wire/value-codec.js';
import { type CallerCounts, type CallerTimes, type HostOwner, RemoteHost } from './remote-host.js';

/** What a caller of a service is made with. */
export interface FinderSettings {
  readonly service: string;
  readonly bus: Bus;
  readonly clock: Clock;
  /** The caller's name. */
  readonly name: string;
  readonly times: CallerTimes;
  readonly maxBodyBytes: number;
  /** How long calls wait while no host is there, in ms. */
  readonly hostWaitMs: number;
}

/** After a reconnect the hosts may not be there again for so long, in ms. */
const GRACE_MS = 4_000;
/** How long an answer to the question who is there is waited for before it is asked again, in ms. */
const ASK_AGAIN_MS = 1_000;
const RETRY_AFTER_MS = 1_000;
/** How many hosts a caller has at most. */
const MAX_HOSTS = 10_000;
/** The session of messages that belong to no host's. */
const LOBBY = 'lobby';

export class HostFinder implements WorkerSource, HostOwner {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly times: CallerTimes;
  readonly maxBodyBytes: number;
  readonly counts: CallerCounts = { busy: 0, resent: 0, late: 0, suspected: 0, malformed: 0, sent: 0, received: 0 };
  codec!: ValueCodec;
  readonly #settings: FinderSettings;
  readonly #subjects: Subjects;
  readonly #inbox: string;
  readonly #hosts = new Map<string, RemoteHost>();
  readonly #sessions = new Map<string, RemoteHost>();
  readonly #subscriptions: BusSubscription[] = [];
  #finder!: WorkerFinder;
  #stopWatching: () => void = () => {};
  #reconnectedAt = Number.NEGATIVE_INFINITY;
  #askTimer: ClockTimer | undefined;
  #failTimer: ClockTimer | undefined;
  #failure: Error | undefined;
  #isWaiting = false;
  #isOpen = false;
  #isClosed = false;

  constructor(settings: FinderSettings) {
    const { bus, clock, name, service, times, maxBodyBytes } = settings;
    this.#settings = settings;
    this.bus = bus;
    this.clock = clock;
    this.times = times;
    this.maxBodyBytes = maxBodyBytes;
    this.#subjects = new Subjects(service);
    this.#inbox = this.#subjects.inbox({ name, instance: uniqueToken() });
  }

  /** The hosts that were heard of and are not over. */
  get hosts(): Iterable<RemoteHost> {
    return this.#hosts.values();
  }

  get waiting(): number {
    return this.#finder.waiting;
  }

  get isJustConnected(): boolean {
    return this.clock.now() - this.#reconnectedAt < GRACE_MS;
  }

  get absence(): Error | undefined {
    if (this.#failure !== undefined) return this.#failure;
    const { service } = this.#settings;
    const why = this.bus.status === 'connected' ? 'no host of it is there' : `the bus is ${this.bus.status}`;
    return new NoHostError(`Cannot call ${service}: ${why}`, RETRY_AFTER_MS);
  }

  subjectOf(host: HostAddress): string {
    return this.#subjects.host(host);
  }

  inboxOf(session: string): string {
    return `${this.#inbox}.${session}`;
  }

  // --- finding

  open(finder: WorkerFinder): void {
    this.#finder = finder;
    loadValueCodec().then(
      (codec) => inNeutralContext(() => this.#begin(codec)),
      (error: Error) => {
        this.#failure = error;
        this.#finder.failWaiting(error);
      },
    );
  }

  #begin(codec: ValueCodec): void {
    if (this.#isClosed) return;
    this.codec = codec;
    this.#isOpen = true;
    const { bus } = this;
    this.#subscriptions.push(
      bus.subscribe(`${this.#inbox}.>`, (message) => inNeutralContext(() => this.#receive(message))),
      bus.subscribe(this.#subjects.hello('*'), (message) => inNeutralContext(() => this.#onHello(message))),
    );
    this.#stopWatching = bus.watch((status) => {
      if (status === 'connected') this.#reconnected();
      else if (status === 'closed') for (const host of [...this.#hosts.values()]) host.lost();
    });
    this.#ask();
  }

  /** Asks who is there, and again as long as no host is and something waits. */
  #ask(): void {
    if (this.bus.status === 'connected') {
      const reply = `${this.#inbox}.${LOBBY}.0`;
      this.bus.publish(this.#subjects.who, writeMessage(this.codec, [Kind.Who]), { reply });
    }
    if (this.#askTimer !== undefined || !this.#isWaiting) return;
    this.#askTimer = this.clock.setTimer(() => {
      this.#askTimer = undefined;
      if (this.#isWaiting && this.#finder.waiting > 0) this.#ask();
    }, ASK_AGAIN_MS);
  }

  #reconnected(): void {
    this.#reconnectedAt = this.clock.now();
    this.#ask();
    for (const host of [...this.#hosts.values()]) host.reconnected();
    this.hasRoom();
  }

  #receive({ data, isUndeliverable, subject }: BusMessage): void {
    const [session, number] = subject.slice(this.#inbox.length + 1).split('.') as [string, string | undefined];
    const host = this.#sessions.get(session);
    const id = Number(number);
    if (isUndeliverable) {
      host?.undeliverable(id);
      return;
    }
    this.counts.received += data.length;
    try {
      const message = readMessage(this.codec, data);
      if (host !== undefined) host.receive(message);
      else if (session === LOBBY && message.kind === Kind.Hello) this.#hear(message.fields);
    } catch (error) {
      if (!(error instanceof RemoteProtocolError)) throw error;
      if (host === undefined) this.counts.malformed += 1;
      else host.malformed(id, error);
    }
  }

  #onHello({ data, isUndeliverable, subject }: BusMessage): void {
    if (isUndeliverable) return;
    try {
      const { fields, kind } = readMessage(this.codec, data);
      // The right to say hello goes by the name in the subject.
      if (kind === Kind.Hello && subject === this.#subjects.hello(String(fields[1]))) this.#hear(fields);
      else this.counts.malformed += 1;
    } catch (error) {
      if (!(error instanceof RemoteProtocolError)) throw error;
      this.counts.malformed += 1;
    }
  }

  #hear(fields: readonly unknown[]): void {
    const [name, instance, status] = [textIn(fields, 1), textIn(fields, 2), textIn(fields, 3)];
    if (name === undefined || instance === undefined || !/^[\w-]{1,64} [\w-]{1,64}$/.test(`${name} ${instance}`)) {
      this.counts.malformed += 1;
      return;
    }
    const key = `${name}.${instance}`;
    const known = this.#hosts.get(key);
    if (status === 'left') known?.lost();
    else if (status === 'draining') known?.leave();
    else if (known === undefined && this.#hosts.size < MAX_HOSTS && !this.#isClosed) {
      const host = new RemoteHost(this, { name, instance });
      this.#hosts.set(key, host);
      this.#sessions.set(host.session, host);
      host.open();
    }
  }

  // --- what hosts tell

  ready(host: RemoteHost): void {
    this.#finder.found(host);
  }

  hasRoom(): void {
    this.#finder.hasRoom();
  }

  answered(request: Request, by: RemoteHost): void {
    if (this.counts.suspected === 0) return;
    for (const host of this.#hosts.values()) if (host !== by) host.stopGhost(request);
  }

  ended(host: RemoteHost): void {
    this.#hosts.delete(`${host.address.name}.${host.address.instance}`);
    this.#sessions.delete(host.session);
  }

  // --- what the pool tells

  noteWaiting(isWaiting: boolean): void {
    this.#isWaiting = isWaiting;
    if (!isWaiting) return;
    if (this.#failure !== undefined) {
      this.#failLater(0);
      return;
    }
    if (this.#isOpen) this.#ask();
    this.#failLater(this.#settings.hostWaitMs);
  }

  /** Answers what waits in a while, if no host is there then. While the bus is not connected the calls wait for it. */
  #failLater(ms: number): void {
    if (this.#failTimer !== undefined || ms === Number.POSITIVE_INFINITY) return;
    this.#failTimer = inNeutralContext(() =>
      this.clock.setTimer(() => {
        this.#failTimer = undefined;
        if (!this.#isWaiting || this.#finder.waiting === 0) return;
        if (this.bus.status === 'disconnected') this.#failLater(this.#settings.hostWaitMs);
        else this.#finder.failWaiting(this.absence);
      }, ms),
    );
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#isWaiting = false;
    this.#askTimer?.cancel();
    this.#failTimer?.cancel();
    this.#stopWatching();
    await Promise.all([...this.#hosts.values()].map((host) => host.destroy()));
    for (const each of this.#subscriptions) each.unsubscribe();
    if (this.#isOpen && this.bus.status === 'connected') await this.bus.flush().catch(() => {});
  }
}
