/**
 * A host of a service, as a caller sees it: a worker of the caller's pool.
 *
 * Invariants:
 * - `held` are the calls that were sent and have had no final message. A call's id is new for each host that it is given to, and never used again.
 * - A request is answered by whichever message comes first, and belongs to this worker only while its owner is this. One that was given to another host
 *   as well, because this one was silent, stays in `held` as a ghost: its answer counts, if it is the first.
 * - While the bus is not connected nothing is sent. Calls that are held are sent again afterwards, under their ids.
 * - A session without calls is silent.
 */
import { type Clock, type ClockTimer, scheduleMacrotask } from '../../core/index.js';
import type { PooledWorker, Priority } from '../../pool/internal.js';
import {
  blameCaller,
  decodeError,
  inNeutralContext,
  isLive,
  type Outcome,
  type Phase,
  type Request,
  type RequestOwner,
  StateMachine,
  type StreamingRequest,
} from '../../worker/internal.js';
import type { Bus } from '../bus.js';
import { AnswerLostError, HostLostError, PayloadTooLargeError, RemoteProtocolError } from '../errors.js';
import { type HostAddress, uniqueToken } from '../subjects.js';
import { readableError } from '../wire/error-limits.js';
import { countIn, Kind, numberIn, type WireMessage, writeMessage } from '../wire/messages.js';
import { Assembly, partsOf, SMALL_BYTES, Transfers } from '../wire/transfers.js';
import type { ValueCodec } from '../wire/value-codec.js';
import { HostClock } from './host-clock.js';

/** The largest reason of an abort that is sent. */
const MAX_REASON_BYTES = 8_192;

/** The times that a caller goes by, in ms. */
export interface CallerTimes {
  /** How often a host that has calls is asked whether it is there. */
  readonly probeMs: number;
  /** For how long it may say nothing, before its idempotent calls are run elsewhere too. */
  readonly suspectMs: number;
}

/** What the hosts of a service have in common. */
export interface HostOwner {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly codec: ValueCodec;
  readonly times: CallerTimes;
  readonly maxBodyBytes: number;
  readonly counts: CallerCounts;
  /** How many requests wait for a host. */
  readonly waiting: number;
  /** Whether the bus was connected so lately that the hosts may not be there again. */
  readonly isJustConnected: boolean;
  /** The subject that the host listens to, and the inbox of a session. */
  subjectOf(host: HostAddress): string;
  inboxOf(session: string): string;
  /** A host answers for the first time. */
  ready(host: RemoteHost): void;
  /** It may have room. */
  hasRoom(): void;
  /** A request was answered: other hosts that run it too can stop. */
  answered(request: Request, by: RemoteHost): void;
  /** It is over. */
  ended(host: RemoteHost): void;
}

/** What a caller counts beside what its pool counts. */
export interface CallerCounts {
  busy: number;
  resent: number;
  late: number;
  suspected: number;
  malformed: number;
  sent: number;
  received: number;
}

interface HeldCall {
  readonly id: number;
  readonly request: Request;
  /** Which of the calls that were sent it was; undefined while its input waits for room on the way. */
  sentAs: number | undefined;
  /** Whether another host has been given its request too. */
  isGhost: boolean;
  isAborted: boolean;
  /** An answer in parts, as far as it has come. */
  assembly: Assembly | undefined;
  /** Credits of a stream that were not sent yet. */
  credits: number;
  /** Whether a part has come, or was taken, since the last probe. */
  hasMoved: boolean;
}

/** Requests that were given to another host because theirs was silent: that is done once. */
const suspectedOnce = new WeakSet<Request>();

export class RemoteHost implements PooledWorker, RequestOwner {
  readonly id: string;
  readonly address: HostAddress;
  readonly session: string = uniqueToken();
  readonly state: StateMachine;
  /** How many calls it has at once at most, as it said last. */
  places = 0;
  /** How many of them were free, as it said last. */
  freePlaces = 0;
  readonly held: Map<number, HeldCall> = new Map();
  readonly #owner: HostOwner;
  readonly #subject: string;
  readonly #inbox: string;
  readonly #hostClock: HostClock;
  readonly #transfers = new Transfers();
  #ids = 0;
  #sent = 0;
  #probes = 0;
  #probeTimer: ClockTimer | undefined;
  #lastHeardAt: number;
  /** When the first of the probes was sent that have had no answer. */
  #askedAt: number | undefined;
  /** Whether it has turned a call away, and not told of room since. */
  #isFull = false;
  /** The call that was sent although no place was known to be free: if it is turned away, this caller is on the host's list. */
  #test: number | undefined;
  /** Places that it keeps for this caller. */
  #offered = 0;
  #isSuspect = false;

  constructor(owner: HostOwner, address: HostAddress) {
    this.#owner = owner;
    this.address = address;
    this.id = address.name;
    this.#subject = owner.subjectOf(address);
    this.#inbox = owner.inboxOf(this.session);
    this.#hostClock = new HostClock(owner.clock);
    this.state = new StateMachine(
      () => owner.clock.now(),
      () => {},
    );
    this.state.enter('loading');
    this.#lastHeardAt = owner.clock.now();
  }

  /** How long a message takes there and back, in ms; undefined before that was measured. */
  get roundTripMs(): number | undefined {
    return this.#hostClock.roundTripMs;
  }

  /** Whether it is full, and this caller on its list. */
  get isFull(): boolean {
    return this.#isFull;
  }

  hasRoom = (_priority: Priority): boolean => {
    if (!isLive(this.state.current) || this.#isSuspect || this.#owner.bus.status !== 'connected') return false;
    if (this.#offered > 0) return true;
    if (!this.#isFull) return this.freePlaces > 0 || this.#test === undefined;
    // Something waits for it: its word may have been lost.
    this.#watch();
    return false;
  };

  isSilent = (): boolean => this.#isSuspect;

  ping: PooledWorker['ping'] = () => Promise.reject(new Error('a remote host is not pinged by its pool'));

  // --- calls

  start(request: Request): void {
    request.owner = this;
    if (!isLive(this.state.current)) {
      request.giveBack(true);
      return;
    }
    if (!request.take()) {
      request.releaseIfDone();
      return;
    }
    const id = ++this.#ids;
    const call: HeldCall = {
      id,
      request,
      sentAs: undefined,
      isGhost: false,
      isAborted: false,
      assembly: undefined,
      credits: 0,
      hasMoved: false,
    };
    request.isInModel = true;
    request.enteredAt = this.#owner.clock.now();
    this.held.set(id, call);
    request.onGone = (reason) => this.#abort(call, reason);
    if (request.kind === 'stream') {
      (request as StreamingRequest).onChunkTaken = () => this.#onChunkTaken(call);
    }
    if (this.#offered > 0) this.#offered -= 1;
    else if (this.freePlaces > 0) this.freePlaces -= 1;
    else this.#test = id;
    this.#send(call);
    this.#watch();
  }

  onSettled(_request: Request, _outcome: Outcome, _from: Phase): void {}

  /** Writes a call's input and sends it, for the first time or again. */
  #send(call: HeldCall): void {
    const { id, request } = call;
    const { bus, clock, codec, maxBodyBytes, waiting } = this.#owner;
    let body: Uint8Array;
    try {
      body = codec.encode(request.peekInput());
      if (body.length > maxBodyBytes) {
        const message = `Cannot call ${request.operation}: its input must be at most ${maxBodyBytes} bytes, received ${body.length}`;
        throw new PayloadTooLargeError(message, body.length, maxBodyBytes);
      }
    } catch (error) {
      blameCaller(error);
      request.isUnreached = true;
      this.#finish(call, () => request.fail(error));
      return;
    }
    const parts = partsOf(body.length, bus.maxPayload);
    const leftMs = request.deadline === undefined ? null : Math.max(0, request.deadline - clock.now());
    const dueAt = leftMs === null ? null : (this.#hostClock.timeThere(leftMs) ?? null);
    const credits = request.kind === 'stream' ? (request as StreamingRequest).chunkCapacity : 0;
    this.#transfers.send(id, body, bus.maxPayload, (index, part) => {
      const header =
        index === 0
          ? [
              Kind.Call,
              id,
              request.operation,
              request.priority ?? 'normal',
              leftMs,
              dueAt,
              request.traceparent ?? null,
              parts,
              body.length,
              credits,
              waiting > 0 ? 'normal' : null,
              this.roundTripMs ?? null,
            ]
          : [Kind.Part, id, index];
      const isFirst = index === 0 && call.sentAs === undefined;
      if (isFirst) call.sentAs = ++this.#sent;
      this.#post(isFirst ? id : 0, header, part);
    });
  }

  #abort(call: HeldCall, reason: unknown): void {
    if (call.isAborted) return;
    call.isAborted = true;
    this.#transfers.drop(call.id);
    this.#post(0, [Kind.Abort, call.id], this.#writeReason(reason));
  }

  #writeReason(reason: unknown): Uint8Array {
    const { codec } = this.#owner;
    try {
      const body = codec.encode(reason);
      if (body.length <= MAX_REASON_BYTES) return body;
    } catch {
      // It could not be sent.
    }
    return codec.encode(undefined);
  }

  #onChunkTaken(call: HeldCall): void {
    if (!this.held.has(call.id) || call.isGhost) return;
    call.credits += 1;
    const { chunkCapacity } = call.request as StreamingRequest;
    // Half of the room at a time: a message a chunk would cost as much as the chunk.
    if (call.credits < chunkCapacity / 2) return;
    this.#post(0, [Kind.Credit, call.id, call.credits]);
    call.credits = 0;
  }

  /** A call is not held any more. False when it was not. */
  #drop({ id }: HeldCall): boolean {
    if (!this.held.delete(id)) return false;
    this.#transfers.drop(id);
    if (this.#test === id) this.#test = undefined;
    return true;
  }

  /** A call is over here: its place is free. `answer` answers its request, unless another host has it now. */
  #finish(call: HeldCall, answer: () => unknown): void {
    const { request } = call;
    if (!this.#drop(call)) return;
    if (call.isGhost) {
      if (request.phase === 'answered') this.#owner.counts.late += 1;
      else answer();
    } else {
      request.onGone = undefined;
      request.isInModel = false;
      answer();
      request.releaseIfDone();
    }
    if (request.phase === 'answered') this.#owner.answered(request, this);
    if (!this.#isFull) this.#owner.hasRoom();
  }

  /** Nothing of a call was run. */
  #giveBack(call: HeldCall): void {
    const { request } = call;
    if (!this.#drop(call)) return;
    if (call.isGhost) return;
    if (request.phase === 'answered') {
      request.onGone = undefined;
      request.isInModel = false;
      request.releaseIfDone();
    } else request.giveBack(true);
  }

  /** The host may have run a call, and will not answer it. */
  #lose(call: HeldCall, error: unknown): void {
    const { request } = call;
    if (!this.#drop(call)) return;
    if (call.isGhost) return;
    request.onGone = undefined;
    request.isInModel = false;
    if (request.phase !== 'answered') {
      const isWanted = request.isWantedBack(error);
      if (isWanted && isLive(this.state.current)) {
        request.giveBack(false);
        return;
      }
      if (isWanted) request.goBack(error);
      else request.giveUp('failed', error);
    }
    request.releaseIfDone();
  }

  // --- what comes in

  receive(message: WireMessage): void {
    const { id, fields, kind } = message;
    this.#heard();
    const call = this.held.get(id);
    switch (kind) {
      case Kind.Answer:
      case Kind.Part:
        this.#onAnswer(call, message);
        return;
      case Kind.Fault:
        if (call === undefined) this.#owner.counts.late += 1;
        else this.#onFault(call, message);
        return;
      case Kind.Chunk:
        if (call !== undefined) this.#onChunk(call, message);
        return;
      case Kind.End:
        if (call !== undefined) this.#onEnd(call, countIn(fields, 3));
        this.#told(countIn(fields, 2));
        return;
      case Kind.Gone: {
        if (call === undefined) return;
        const { request } = call;
        this.#finish(call, () => {
          if (request.phase === 'answered' || call.isGhost) return;
          // Overdue by the host's clock, and here in a moment.
          if (request.deadline !== undefined) request.expire();
          else request.fail(new RemoteProtocolError('Cannot read answer: it is none'));
        });
        this.#told(countIn(fields, 2));
        return;
      }
      case Kind.Busy:
        this.places = countIn(fields, 2);
        if (call === undefined) return;
        this.#owner.counts.busy += 1;
        this.#isFull = true;
        this.freePlaces = 0;
        this.#giveBack(call);
        this.#watch();
        return;
      case Kind.Room:
        this.places = countIn(fields, 2);
        this.#onRoom();
        return;
      case Kind.Got:
        if (call !== undefined) call.hasMoved = true;
        this.#transfers.got(id, countIn(fields, 2));
        return;
      case Kind.Lost: {
        if (call === undefined) return;
        const message = `Cannot call ${call.request.operation}: its answer was lost, and ${this.id} has forgotten it`;
        this.#lose(call, new AnswerLostError(message, this.id));
        return;
      }
      case Kind.Pong:
        this.#onPong(fields);
        return;
      case Kind.Leaving:
        this.leave();
        return;
    }
  }

  /** A message could not be read. */
  malformed(id: number, error: RemoteProtocolError): void {
    this.#owner.counts.malformed += 1;
    const call = this.held.get(id);
    if (call !== undefined) this.#finish(call, () => call.request.fail(error));
  }

  #onAnswer(call: HeldCall | undefined, { kind, fields, body }: WireMessage): void {
    if (call === undefined) {
      this.#owner.counts.late += 1;
      return;
    }
    call.hasMoved = true;
    if (kind === Kind.Answer) {
      this.#told(countIn(fields, 2));
      const [parts, bytes] = [countIn(fields, 3), countIn(fields, 4)];
      if (bytes > this.#owner.maxBodyBytes || parts > bytes) {
        const { operation } = call.request;
        const message = `Cannot call ${operation}: its output must be at most ${this.#owner.maxBodyBytes} bytes, received ${bytes}`;
        this.#finish(call, () => call.request.fail(new PayloadTooLargeError(message, bytes, this.#owner.maxBodyBytes)));
        return;
      }
      if (call.assembly?.parts !== parts || call.assembly.bytes !== bytes) call.assembly = new Assembly(parts, bytes);
    }
    const { assembly } = call;
    if (assembly === undefined) return;
    const whole = assembly.add(kind === Kind.Answer ? 0 : countIn(fields, 2), body);
    if (whole !== null && (assembly.bytes >= SMALL_BYTES || assembly.parts > 1)) {
      this.#post(0, [Kind.Got, call.id, whole === undefined ? assembly.got : assembly.parts]);
    }
    if (whole === undefined) return;
    let value: unknown;
    try {
      if (whole === null || call.request.kind !== 'unary')
        throw new RemoteProtocolError('Cannot read answer: it is none');
      value = this.#owner.codec.decode(whole);
    } catch (error) {
      this.#finish(call, () => call.request.fail(error));
      return;
    }
    this.#finish(call, () => call.request.send(value));
  }

  #onFault(call: HeldCall, { body, fields }: WireMessage): void {
    let error: unknown;
    try {
      error = decodeError(readableError(this.#owner.codec.decode(body)));
    } catch (thrown) {
      error = thrown;
    }
    this.#finish(call, () => call.request.fail(error));
    this.#told(countIn(fields, 2));
  }

  #onChunk(call: HeldCall, { body, fields }: WireMessage): void {
    const { request } = call;
    call.hasMoved = true;
    if (request.kind !== 'stream' || request.phase === 'answered') return;
    let error: unknown;
    try {
      if (request.chunks === countIn(fields, 2, -1)) {
        void request.send(this.#owner.codec.decode(body));
        return;
      }
      error = this.#brokenStream(request);
    } catch (thrown) {
      error = thrown;
    }
    this.#abort(call, error);
    request.fail(error);
  }

  #onEnd(call: HeldCall, chunks: number): void {
    const { request } = call;
    this.#finish(call, () => {
      if (request.kind === 'stream' && request.chunks === chunks) (request as StreamingRequest).end();
      else request.fail(this.#brokenStream(request));
    });
  }

  #brokenStream({ operation }: Request): AnswerLostError {
    return new AnswerLostError(`Cannot call ${operation}: chunks of its stream from ${this.id} were lost`, this.id);
  }

  /** The host says how many of its places are free. */
  #told(freePlaces: number): void {
    this.freePlaces = freePlaces;
    if (freePlaces <= 0 || !this.#isFull) return;
    this.#isFull = false;
    this.#owner.hasRoom();
  }

  #onRoom(): void {
    this.#offered += 1;
    this.#owner.hasRoom();
    if (this.#offered === 0) return;
    this.#offered = 0;
    this.#isFull = false;
    this.#post(0, [Kind.Decline, 0]);
  }

  // --- whether it is there

  /** Asks whether it is there, what it holds, and what time it has. */
  probe(): void {
    if (this.#owner.bus.status !== 'connected') return;
    const now = this.#owner.clock.now();
    this.#askedAt ??= now;
    const waitsAs = this.#isFull && this.#owner.waiting > 0 ? 'normal' : null;
    const ids: number[] = [];
    for (const { id } of this.held.values()) {
      ids.push(id);
      if (ids.length === 4_096) break;
    }
    this.#post(0, [Kind.Probe, ++this.#probes, now, waitsAs, ...ids]);
  }

  #onPong(fields: readonly unknown[]): void {
    const sentAt = numberIn(fields, 2);
    const theirTime = numberIn(fields, 3);
    this.#askedAt = undefined;
    if (sentAt !== undefined && theirTime !== undefined) this.#hostClock.observe(sentAt, theirTime);
    this.places = countIn(fields, 4);
    if (this.state.current === 'loading') {
      this.state.enter('ready');
      this.#owner.ready(this);
    }
    const isListed = fields[6] === true;
    for (let index = 7; index < fields.length; index += 1) {
      const call = this.held.get(countIn(fields, index));
      if (call !== undefined) this.#missing(call);
    }
    if (!isListed) this.#told(countIn(fields, 5));
  }

  /** The host does not run a call that it should have: the call was lost on its way, or its answer was. */
  #missing(call: HeldCall): void {
    if (call.hasMoved) {
      call.hasMoved = false;
      return;
    }
    this.#resend(call);
  }

  #resend(call: HeldCall): void {
    this.#owner.counts.resent += 1;
    if (call.request.phase === 'answered' && !call.isGhost) {
      call.isAborted = false;
      this.#abort(call, undefined);
    } else if (!call.isGhost || call.request.phase !== 'answered') this.#send(call);
  }

  /** The bus is connected again: what was on its way may be lost. */
  reconnected(): void {
    this.#lastHeardAt = this.#owner.clock.now();
    this.#askedAt = undefined;
    for (const call of [...this.held.values()]) this.#resend(call);
    // Last, so that its answer comes after theirs.
    this.probe();
    this.#watch();
  }

  /** The bus says that a message to it had no reader. `id` is a call's where the message was the first that was sent of it: nothing of that call was run. */
  undeliverable(id: number): void {
    const sentAs = this.held.get(id)?.sentAs;
    if (sentAs !== undefined) {
      // The host was gone already when those behind it were sent.
      const unread = [...this.held.values()].filter((call) => (call.sentAs ?? Number.POSITIVE_INFINITY) >= sentAs);
      this.#isFull = true;
      for (const call of unread.reverse()) this.#giveBack(call);
    }
    if (this.#owner.isJustConnected) {
      // It may be on its way back itself.
      this.#isFull = true;
      this.#watch();
    } else this.lost();
  }

  /** It is gone. */
  lost(): void {
    if (this.state.current === 'dead' || this.state.current === 'failed') return;
    const error = (operation: string): HostLostError =>
      new HostLostError(`Cannot call ${operation}: the host ${this.id} that had it is gone`, this.id);
    this.#stopWatching();
    const isLeaving = this.state.current === 'evicting';
    const cause = new HostLostError(`The host ${this.id} is gone`, this.id);
    // Before its calls are: where they go next, it is not asked.
    this.state.enter(isLeaving ? 'dead' : 'failed', cause);
    for (const call of [...this.held.values()]) this.#lose(call, error(call.request.operation));
    if (!isLeaving) this.state.enter('dead', cause);
    this.#owner.ended(this);
  }

  /** It takes no more calls, and finishes those that it has. */
  leave(): void {
    if (!isLive(this.state.current)) return;
    if (this.state.current === 'loading') this.lost();
    else this.state.enter('evicting');
  }

  /** Another host has answered a request, so it is not wanted here any more. */
  stopGhost(request: Request): void {
    for (const call of this.held.values()) if (call.request === request && call.isGhost) this.#abort(call, undefined);
  }

  #heard(): void {
    this.#lastHeardAt = this.#owner.clock.now();
    if (!this.#isSuspect) return;
    this.#isSuspect = false;
    this.#owner.hasRoom();
  }

  /** Probes it as long as it holds calls, or this caller waits for its word. */
  #watch(): void {
    if (this.#probeTimer !== undefined || !this.#isWatched) return;
    const { clock, times } = this.#owner;
    // It is called where a call enters, whose async context a timer would keep.
    this.#probeTimer = inNeutralContext(() => clock.setTimer(() => this.#onProbeTimer(), times.probeMs));
  }

  get #isWatched(): boolean {
    return this.held.size > 0 || (this.#isFull && this.#owner.waiting > 0) || this.state.current === 'loading';
  }

  #onProbeTimer(): void {
    this.#probeTimer = undefined;
    const now = this.#owner.clock.now();
    if (this.#owner.bus.status === 'connected') {
      // This process may not have listened: what has come meanwhile is read first.
      if (this.#silentMs(now) >= this.#owner.times.suspectMs) {
        scheduleMacrotask(() => scheduleMacrotask(() => inNeutralContext(() => this.#suspectIfSilent())));
      }
      this.probe();
    }
    this.#watch();
  }

  /** For how long it has had a question and said nothing, in ms. */
  #silentMs(now: number): number {
    return Math.min(now - this.#lastHeardAt, now - (this.#askedAt ?? now));
  }

  /** If it has said nothing for a while, calls that may run twice are given to others too. */
  #suspectIfSilent(): void {
    const { bus, clock, times } = this.#owner;
    if (bus.status !== 'connected' || this.#silentMs(clock.now()) < times.suspectMs) return;
    this.#isSuspect = true;
    for (const call of [...this.held.values()]) {
      const { request } = call;
      const { idempotent, kind } = request.declaration;
      if (call.isGhost || request.phase === 'answered' || !idempotent || kind !== 'unary') continue;
      if (!request.isRepeatable || suspectedOnce.has(request)) continue;
      suspectedOnce.add(request);
      this.#owner.counts.suspected += 1;
      call.isGhost = true;
      request.giveBack(false);
    }
  }

  #stopWatching(): void {
    this.#probeTimer?.cancel();
    this.#probeTimer = undefined;
  }

  // --- the end, by the caller's pool

  /** Begins to watch a host that was just found. */
  open(): void {
    this.probe();
    this.#watch();
  }

  async close(): Promise<void> {
    await this.destroy();
  }

  async destroy(reason?: unknown): Promise<void> {
    if (this.state.current === 'dead') return;
    this.#stopWatching();
    this.#post(0, [Kind.Bye, 0]);
    if (isLive(this.state.current)) this.state.enter('evicting', reason);
    const error = new HostLostError(`The host ${this.id} was let go`, this.id, { cause: reason });
    for (const call of [...this.held.values()]) {
      this.held.delete(call.id);
      if (call.isGhost) continue;
      call.request.onGone = undefined;
      call.request.isInModel = false;
      if (call.request.phase !== 'answered') call.request.giveUp('failed', error);
      call.request.releaseIfDone();
    }
    this.state.enter('dead', reason);
    this.#owner.ended(this);
  }

  /** @param id The call that nothing was run of if the bus reports this message; 0 for none. */
  #post(id: number, header: readonly unknown[], body?: Uint8Array): void {
    const { bus, codec, counts } = this.#owner;
    if (bus.status !== 'connected') return;
    const message = writeMessage(codec, header, body);
    counts.sent += message.length;
    bus.publish(this.#subject, message, { reply: `${this.#inbox}.${id}` });
  }
}
