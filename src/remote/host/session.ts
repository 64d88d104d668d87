/**
 * One caller, as a host sees it: its calls, from when they come in to their final message.
 *
 * Invariants:
 * - A call is run at most once: its id is in `calls` while it is here, then its answer is in `answers` for a while, then `forgottenUpTo` covers it.
 * - No call is begun before all that came in with it has been read: an abort may be behind it. None is begun that was aborted or whose moment has passed.
 * - Each call gets one final message. `Busy` is one, of a call that has left nothing behind.
 */
import { isMillraceError } from '../../core/index.js';
import { type Priority, priorities } from '../../pool/internal.js';
import { encodeError } from '../../worker/internal.js';
import { NotServedError, PayloadTooLargeError, RemoteProtocolError } from '../errors.js';
import { sendableError } from '../wire/error-limits.js';
import { countIn, Kind, numberIn, textIn, type WireMessage } from '../wire/messages.js';
import { Assembly, partsOf, SMALL_BYTES, Transfers } from '../wire/transfers.js';
import type { AnswerOwner, FinalAnswer } from './answers.js';
import { HostCall } from './host-call.js';
import { RESERVE_MS, type WaitingCaller } from './places.js';
import type { ServedPool } from './served-pool.js';

/** How many ids of calls that were aborted before they came are kept. */
const MAX_ABORTED = 1_024;
/** How many calls a caller may have here; far more than any host has places. */
const MAX_CALLS = 10_000;
const EMPTY = new Uint8Array(0);
const GONE: FinalAnswer = { kind: Kind.Gone, operands: [], body: EMPTY };

export class Session implements WaitingCaller, AnswerOwner {
  /** The subject that its messages go to, without the id of the call. */
  readonly inbox: string;
  readonly calls: Map<number, HostCall> = new Map();
  readonly answers: Map<number, FinalAnswer> = new Map();
  forgottenUpTo = 0;
  waitsAs: Priority | undefined;
  reserved = 0;
  lastHeardAt: number;
  readonly #host: ServedPool;
  readonly #transfers = new Transfers();
  readonly #aborted = new Set<number>();

  constructor(host: ServedPool, inbox: string) {
    this.#host = host;
    this.inbox = inbox;
    this.lastHeardAt = host.clock.now();
  }

  // --- what comes in

  receive(message: WireMessage): void {
    const { id, fields, body } = message;
    switch (message.kind) {
      case Kind.Call:
        this.#onCall(message);
        return;
      case Kind.Part:
        this.#onPart(id, countIn(fields, 2), body);
        return;
      case Kind.Abort:
        this.#onAbort(id, body);
        return;
      case Kind.Credit: {
        const call = this.calls.get(id);
        if (call === undefined) return;
        call.credits += countIn(fields, 2);
        call.wake();
        return;
      }
      case Kind.Got:
        this.#transfers.got(id, countIn(fields, 2));
        return;
      case Kind.Probe:
        this.#onProbe(message);
        return;
      case Kind.Decline:
        this.#host.places.decline(this);
        return;
      case Kind.Bye:
        this.#host.forget(this, new Error('the caller is over'));
        return;
    }
  }

  #onCall({ id, fields, body }: WireMessage): void {
    const { counts, maxBodyBytes } = this.#host;
    const before = this.calls.get(id);
    if (before !== undefined) {
      counts.duplicates += 1;
      this.#addPart(before, 0, body);
      return;
    }
    const answer = this.answers.get(id);
    if (answer !== undefined) {
      counts.resent += 1;
      this.#send(id, answer);
      return;
    }
    if (id <= this.forgottenUpTo) {
      this.#host.post(this, id, [Kind.Lost, id]);
      return;
    }
    const bytes = countIn(fields, 8);
    const parts = countIn(fields, 7);
    const leftMs = numberIn(fields, 4) ?? Number.POSITIVE_INFINITY;
    const now = this.#host.clock.now();
    const call = new HostCall(
      {
        id,
        operation: textIn(fields, 2) ?? '',
        priority: classIn(fields, 3) ?? 'normal',
        // The time left alone would give a message that was held up on its way a second life.
        dueAt: Math.min(numberIn(fields, 5) ?? Number.POSITIVE_INFINITY, now + leftMs),
        traceparent: textIn(fields, 6),
        credits: countIn(fields, 9),
        waitsAs: classIn(fields, 10),
      },
      new Assembly(parts, bytes),
      now,
    );
    if (id === 0 || parts === 0 || parts > bytes || this.calls.size >= MAX_CALLS) {
      this.#fault(call, new RemoteProtocolError('Cannot take call: it is malformed, or one of too many'));
    } else if (bytes > maxBodyBytes) {
      const message = `Cannot call ${call.request.operation}: its input must be at most ${maxBodyBytes} bytes, received ${bytes}`;
      this.#fault(call, new PayloadTooLargeError(message, bytes, maxBodyBytes));
    } else {
      if (this.#aborted.delete(id)) call.abort(undefined);
      this.calls.set(id, call);
      this.#host.observeRoundTrip(numberIn(fields, 11));
      this.#addPart(call, 0, body);
      this.#host.arrived(this, call);
    }
  }

  #onPart(id: number, index: number, part: Uint8Array): void {
    const call = this.calls.get(id);
    if (call !== undefined) this.#addPart(call, index, part);
  }

  #addPart(call: HostCall, index: number, part: Uint8Array): void {
    const { assembly, id } = call;
    if (call.body !== undefined) return;
    call.movedAt = this.#host.clock.now();
    const body = assembly.add(index, part);
    if (body === null) {
      this.#fault(call, new RemoteProtocolError('Cannot take call: its input is not as long as it says'));
      return;
    }
    call.body = body;
    // Also before it is let in: the sender's window counts what arrived, whatever becomes of it.
    if (assembly.bytes >= SMALL_BYTES || assembly.parts > 1) {
      this.#host.post(this, id, [Kind.Got, id, body === undefined ? assembly.got : assembly.parts]);
    }
    if (body !== undefined && call.isAdmitted) this.#run(call);
  }

  #onAbort(id: number, body: Uint8Array): void {
    const call = this.calls.get(id);
    if (call !== undefined) {
      call.abort(this.#reasonIn(body));
      // It holds a place for an input that will not come.
      if (call.isAdmitted && !call.hasBegun) this.#final(call, GONE);
      return;
    }
    const answer = this.answers.get(id);
    if (answer !== undefined) {
      this.#send(id, answer);
      return;
    }
    // It may have overtaken its call, or the call was lost.
    if (id > this.forgottenUpTo && this.#aborted.size < MAX_ABORTED) this.#aborted.add(id);
    this.#host.post(this, id, [Kind.Gone, id, this.#host.freePlaces]);
  }

  #reasonIn(body: Uint8Array): unknown {
    try {
      return this.#host.codec.decode(body);
    } catch {
      return new Error('given up by its caller');
    }
  }

  #onProbe({ id, fields }: WireMessage): void {
    const { places, clock } = this.#host;
    const missing: number[] = [];
    for (let index = 4; index < fields.length; index += 1) {
      const each = countIn(fields, index);
      const call = this.calls.get(each);
      if (call === undefined || call.body === undefined) missing.push(each);
    }
    const waitsAs = classIn(fields, 3);
    if (waitsAs === undefined) places.unlist(this);
    else if (this.reserved === 0) places.list(this, waitsAs);
    const header = [Kind.Pong, id, numberIn(fields, 2) ?? 0, clock.now(), places.total, this.#host.freePlaces];
    this.#host.post(this, 0, [...header, this.waitsAs !== undefined, ...missing]);
  }

  // --- a call

  /** Begins a call that has come in, or turns it away. */
  begin(call: HostCall): void {
    const { counts, places } = this.#host;
    const { id, operation, priority, dueAt, waitsAs } = call.request;
    if (this.calls.get(id) !== call) return;
    if (call.gone !== undefined || dueAt <= this.#host.clock.now()) {
      this.#final(call, GONE);
      return;
    }
    if (!this.#host.operations.has(operation)) {
      this.#fault(
        call,
        new NotServedError(`Cannot call ${operation}: ${this.#host.service} does not serve it`, operation),
      );
      return;
    }
    if (!places.admit(this, priority)) {
      this.calls.delete(id);
      counts.busy += 1;
      this.#host.post(this, id, [Kind.Busy, id, places.total, this.#host.retryAfterMs]);
      return;
    }
    counts.accepted += 1;
    call.isAdmitted = true;
    if (call.body !== undefined) this.#run(call);
    if (waitsAs !== undefined && places.free <= 0) places.list(this, waitsAs);
  }

  #run(call: HostCall): void {
    const { codec, clock, intake, places } = this.#host;
    const { operation, priority, dueAt, traceparent } = call.request;
    let input: unknown;
    try {
      input = codec.decode(call.body as Uint8Array);
    } catch (error) {
      this.#fault(call, error);
      return;
    }
    const timeoutMs = dueAt - clock.now();
    if (call.gone !== undefined || timeoutMs <= 0) {
      this.#final(call, GONE);
      return;
    }
    call.hasBegun = true;
    const options = { signal: call.signal, timeoutMs, priority, ...(traceparent === undefined ? {} : { traceparent }) };
    const isStream = intake.operations[operation]?.kind === 'stream';
    const result = intake.call(operation, input, options);
    if (isStream) void this.#runStream(call, result as AsyncIterableIterator<unknown>);
    else {
      (result as Promise<unknown>).then(
        (value) => this.#answer(call, value),
        (error: unknown) => this.#failed(call, error),
      );
    }
    // Now it counts among what the pool has.
    places.taken -= 1;
  }

  async #runStream(call: HostCall, chunks: AsyncIterableIterator<unknown>): Promise<void> {
    const { codec } = this.#host;
    const { id, operation } = call.request;
    let sent = 0;
    try {
      for (;;) {
        // The first look opens it: it is to count among what the pool has at once.
        const next = await chunks.next();
        if (next.done === true) break;
        while (call.credits === 0 && call.gone === undefined) {
          await new Promise<void>((resolve) => {
            call.wake = resolve;
          });
        }
        if (call.gone !== undefined) break;
        const body = codec.encodeShared(next.value);
        if (partsOf(body.length, this.#host.bus.maxPayload) > 1) {
          const limit = this.#host.bus.maxPayload;
          throw new PayloadTooLargeError(
            `Cannot answer ${operation}: a chunk must fit into a message of ${limit} bytes, received ${body.length}`,
            body.length,
            limit,
          );
        }
        call.credits -= 1;
        this.#host.post(this, id, [Kind.Chunk, id, sent], body);
        sent += 1;
      }
      await chunks.return?.();
      if (call.gone === undefined) this.#final(call, { kind: Kind.End, operands: [sent], body: EMPTY });
      else this.#final(call, GONE);
    } catch (error) {
      await chunks.return?.();
      this.#failed(call, error);
    }
  }

  #answer(call: HostCall, value: unknown): void {
    if (call.gone !== undefined) {
      this.#final(call, GONE);
      return;
    }
    const { codec, maxBodyBytes } = this.#host;
    let body: Uint8Array;
    try {
      body = codec.encode(value);
    } catch (error) {
      this.#fault(call, error);
      return;
    }
    if (body.length <= maxBodyBytes) {
      this.#final(call, { kind: Kind.Answer, operands: [], body });
      return;
    }
    const message = `Cannot answer ${call.request.operation}: its output must be at most ${maxBodyBytes} bytes, received ${body.length}`;
    this.#fault(call, new PayloadTooLargeError(message, body.length, maxBodyBytes));
  }

  #failed(call: HostCall, error: unknown): void {
    // The caller has answered an abort and a deadline itself.
    const isLate = isMillraceError(error, 'ERR_DEADLINE_EXCEEDED') && call.request.dueAt <= this.#host.clock.now();
    if (call.gone !== undefined || isLate) this.#final(call, GONE);
    else this.#fault(call, error);
  }

  #fault(call: HostCall, error: unknown): void {
    const { bus, codec } = this.#host;
    const encoded = sendableError(encodeError(error));
    let body = codec.encode(encoded);
    if (partsOf(body.length, bus.maxPayload) > 1) {
      body = codec.encode(sendableError(encodeError(new Error('the error is too large to be sent'))));
    }
    this.#final(call, { kind: Kind.Fault, operands: [], body });
  }

  #final(call: HostCall, answer: FinalAnswer): void {
    const { counts, kept, places } = this.#host;
    if (call.isFinal) return;
    call.isFinal = true;
    this.calls.delete(call.id);
    if (call.isAdmitted) {
      counts.settled += 1;
      if (!call.hasBegun) places.taken -= 1;
    }
    kept.keep(this, call.id, answer);
    this.#send(call.id, answer);
    this.#host.finished();
  }

  #send(id: number, { kind, operands, body }: FinalAnswer): void {
    const { bus } = this.#host;
    const free = this.#host.freePlaces;
    if (kind !== Kind.Answer) {
      this.#host.post(this, id, [kind, id, free, ...operands], body);
      return;
    }
    const parts = partsOf(body.length, bus.maxPayload);
    this.#transfers.send(id, body, bus.maxPayload, (index, part) => {
      const header = index === 0 ? [kind, id, free, parts, body.length] : [Kind.Part, id, index];
      this.#host.post(this, id, header, part);
    });
  }

  // --- its place on the list, and its end

  offered(): void {
    this.#host.post(this, 0, [Kind.Room, 0, this.#host.places.total, RESERVE_MS]);
  }

  /** Lets go of calls whose inputs do not come any more: they hold places. For their caller they never arrived. */
  dropStalled(before: number): void {
    for (const call of this.calls.values()) {
      if (call.body !== undefined || call.movedAt > before) continue;
      this.calls.delete(call.id);
      call.isFinal = true;
      if (!call.isAdmitted) continue;
      this.#host.places.taken -= 1;
      this.#host.counts.settled += 1;
      this.#host.finished();
    }
  }

  /** Aborts its calls: no caller waits for them. */
  end(reason: unknown): void {
    for (const call of this.calls.values()) {
      call.isFinal = true;
      call.abort(reason);
      if (call.isAdmitted && !call.hasBegun) this.#host.places.taken -= 1;
      if (call.isAdmitted) this.#host.counts.settled += 1;
    }
    this.calls.clear();
  }
}

function classIn(fields: readonly unknown[], index: number): Priority | undefined {
  const value = fields[index] as Priority;
  return priorities.includes(value) ? value : undefined;
}
