import { type ClockTimer, messageOf, monotonicNow, scheduleMacrotask, systemClock } from '../../core/index.js';
import { decodeError, type EncodedError, encodeError } from '../codec/error-codec.js';
import { type HostInit, Kind, type Link, type Message, ownTime, sharedNow } from '../codec/link.js';
import { findTransferable, isSmallData, plainCopy } from '../codec/payload.js';
import { DeadlineExceededError, WorkerLoadError } from '../errors.js';
import {
  type CallContext,
  type ChunkTaker,
  type ModelContext,
  ModelHealth,
  readChunks,
  requireModel,
  type UntypedModel,
  type WorkerHost,
} from '../model.js';
import { loadModel, preloadModel } from './load-model.js';
import type { ProgressBoard } from './progress-board.js';

// Invariants:
// - Every call that arrives gets exactly one final message, sent when its method has left the model, or is sure never to enter it: that message
//   gives the place back to the handle, so an aborted call sends it late rather than early.
// - No call begins before all that came in while this thread was blocked has been read: the word that it was given up may be behind it. None begins
//   that was given up, or whose deadline has passed.
// - A chunk is sent only against a credit of the consumer's.
// - A call that is not final at the end of the turn in which it began is reported as taken, before anything blocks where that is foreseen.

/** How old a call may be, in ms, before it is taken for one of many that came while this thread was blocked. */
const LATE_MS = 2;

/** From how long a synchronous stretch on, in ms, a method counts as one that blocks the thread. */
const SLOW_MS = 1;

const DONE = Promise.resolve();

type Method = (input: unknown, context: CallContext) => unknown;

/** What the entry file of a host hands over. */
interface ServeOptions {
  readonly link: Link;
  readonly board: ProgressBoard;
  readonly host: WorkerHost;
  /** Ends the thread or process, once what it has printed and sent is on its way. */
  readonly exit: () => void;
}

/** The host's side of a link: loads the model that `Init` names, and runs the calls that come. */
export function serveModel({ link, board, host, exit }: ServeOptions): void {
  const stop = new AbortController();
  let served: ServedModel | undefined;
  const arriving = (): Promise<void> | undefined => served?.arriving();
  const load = async (init: HostInit): Promise<void> => {
    try {
      served = new ServedModel(
        await makeModel(init, { signal: stop.signal, workerId: init.workerId, host, arriving }),
        init,
        link,
        board,
      );
      link.post([Kind.Ready]);
    } catch (error) {
      link.post([Kind.LoadFailed, encodeError(error)]);
      link.flush();
      exit();
    }
  };
  const close = async (): Promise<void> => {
    stop.abort();
    let failure: EncodedError | undefined;
    try {
      await served?.release();
    } catch (error) {
      failure = encodeError(error);
    }
    link.post([Kind.Closed, failure]);
    link.flush();
    exit();
  };
  link.onUnreadable = () => link.post([Kind.Unreadable]);
  link.receive((batch) => {
    for (const message of batch) {
      if (message[0] === Kind.Init) void load(message[1] as HostInit);
      else if (message[0] === Kind.Preload) {
        void preloadModel(message[1] as string).then(() => link.post([Kind.Preloaded]));
      } else if (message[0] === Kind.Close) void close();
      else served?.read(message);
    }
    served?.startArrived();
  });
}

async function makeModel(init: HostInit, context: ModelContext): Promise<UntypedModel> {
  const made = await loadModel(init.module, init.options, context);
  const model = requireModel(made, init.operations);
  try {
    await model.warmup?.();
  } catch (error) {
    const message = `Cannot load model: its warmup failed (${messageOf(error)})`;
    throw new WorkerLoadError(message, { cause: error });
  }
  return model;
}

/** A call under way, as its model's method sees it. */
class HostedCall implements CallContext, ChunkTaker {
  readonly id: number;
  readonly operation: string;
  readonly input: unknown;
  readonly deadline: number | undefined;
  readonly traceparent: string | undefined;
  readonly sentAt: number;
  /** Why its answer is not wanted any more. */
  gone: { readonly reason: unknown } | undefined;
  onGone: (() => void) | undefined;
  /** How many chunks the consumer has room for. */
  credits = 0;
  /** How many chunks were sent. */
  sent = 0;
  /** Why a chunk could not be written. */
  refusal: { readonly reason: unknown } | undefined;
  /** Ends a stream's wait for a credit. */
  wake: () => void = () => {};
  #controller: AbortController | undefined;
  #timer: ClockTimer | undefined;
  #isOver = false;

  constructor(message: Message, operation: string) {
    this.id = message[1] as number;
    this.operation = operation;
    this.input = message[3];
    this.deadline = message[4] === undefined ? undefined : ownTime(message[4] as number);
    this.traceparent = message[5] as string | undefined;
    this.sentAt = message[6] as number;
  }

  get isClosed(): boolean {
    return this.gone !== undefined;
  }

  get isOverdue(): boolean {
    return this.deadline !== undefined && this.deadline <= monotonicNow();
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.gone !== undefined) this.#controller.abort(this.gone.reason);
      else if (this.deadline !== undefined && !this.#isOver) this.#watchDeadline(this.deadline - monotonicNow());
    }
    return this.#controller.signal;
  }

  abort(reason: unknown): void {
    if (this.gone !== undefined) return;
    this.gone = { reason };
    this.end();
    this.#controller?.abort(reason);
    this.wake();
    this.onGone?.();
  }

  /** Its method has ended: its deadline is watched no more. */
  end(): void {
    this.#isOver = true;
    this.#timer?.cancel();
  }

  #watchDeadline(ms: number): void {
    const late = (): Error => new DeadlineExceededError(`Cannot call ${this.operation}: no answer by its deadline`, ms);
    this.#timer = systemClock.setTimer(() => this.abort(late()), ms);
  }
}

class ServedModel {
  readonly #model: UntypedModel;
  readonly #operations: readonly string[];
  readonly #kinds: HostInit['operations'];
  readonly #link: Link;
  readonly #board: ProgressBoard;
  readonly #transfers: boolean;
  readonly #health: ModelHealth | undefined;
  readonly #readyAt: number = monotonicNow();
  readonly #calls = new Map<number, HostedCall>();
  /** Calls that have not begun. */
  #arrived: HostedCall[] = [];
  /** Calls that have begun in this turn. */
  #fresh: HostedCall[] = [];
  /** Operations whose method may block the thread: as it did last time, or was never called. */
  readonly #slow: Set<string>;
  #blockedUntil = Number.NEGATIVE_INFINITY;
  #isStarting = false;
  /** Callbacks for when every call that has arrived has begun. */
  #onStarted: (() => void)[] = [];

  constructor(model: UntypedModel, init: HostInit, link: Link, board: ProgressBoard) {
    this.#model = model;
    this.#operations = Object.keys(init.operations);
    this.#kinds = init.operations;
    this.#slow = new Set(this.#operations);
    this.#link = link;
    this.#board = board;
    this.#transfers = init.transferResults && link.canTransfer;
    this.#health = model.health === undefined ? undefined : new ModelHealth(() => model.health?.(), systemClock);
    link.lastWord = () => this.#takenNotice();
    link.onRefused = (message, reason) => this.#onRefused(message, reason);
  }

  async release(): Promise<void> {
    this.#health?.stop();
    await this.#model.dispose?.();
  }

  read(message: Message): void {
    const id = message[1] as number;
    switch (message[0]) {
      case Kind.Call: {
        const call = new HostedCall(message, this.#operations[message[2] as number] as string);
        this.#calls.set(id, call);
        this.#arrived.push(call);
        break;
      }
      case Kind.Abort:
        this.#calls.get(id)?.abort(decodeError(message[2] as EncodedError));
        break;
      case Kind.Credit: {
        const call = this.#calls.get(id);
        if (call === undefined) break;
        call.credits += message[2] as number;
        call.wake();
        break;
      }
      case Kind.Ping:
        void this.#pong(id);
        break;
      case Kind.Recount:
        this.#recount(message.slice(1) as number[]);
        break;
    }
  }

  /** Begins the calls that have arrived: once this turn's messages are read, or after a look at the event loop where this thread was blocked. */
  startArrived(): void {
    if (this.#isStarting || this.#arrived.length === 0) return;
    this.#isStarting = true;
    const now = sharedNow();
    const isLate = ({ sentAt }: HostedCall): boolean => sentAt < this.#blockedUntil || now - sentAt > LATE_MS;
    // The first macrotask may come before the event loop has looked at its sockets and ports again; the second comes after.
    if (this.#arrived.some(isLate)) scheduleMacrotask(() => scheduleMacrotask(this.#start));
    else void DONE.then(this.#start);
  }

  /** Resolves once every call that has arrived, the one that has arrived in part too, has begun; undefined where there is none. */
  arriving(): Promise<void> | undefined {
    const received = this.#link.received();
    return received === undefined ? this.#started() : received.then(() => this.#started());
  }

  #started(): Promise<void> | undefined {
    return this.#isStarting ? new Promise((resolve) => this.#onStarted.push(resolve)) : undefined;
  }

  readonly #start = (): void => {
    this.#isStarting = false;
    const arrived = this.#arrived;
    // Begins one after the other, up to one that blocks the thread.
    const blocker = arrived.findIndex((call) => this.#begin(call));
    this.#arrived = blocker < 0 ? [] : arrived.slice(blocker + 1);
    this.startArrived();
    if (!this.#isStarting) for (const resolve of this.#onStarted.splice(0)) resolve();
  };

  /** Begins a call. True when it has blocked the thread. */
  #begin(call: HostedCall): boolean {
    if (call.isClosed || call.isOverdue) {
      this.#close(call, [Kind.Gone, call.id, false]);
      return false;
    }
    const { operation } = call;
    this.#fresh.push(call);
    // What waits for the end of the turn must not wait for a method that blocks the thread.
    if (this.#slow.has(operation)) this.#link.flush();
    else this.#link.schedule();
    this.#board.begin(call.id);
    const before = monotonicNow();
    if (this.#kinds[operation] === 'stream') void this.#runStream(call);
    else this.#runUnary(call);
    if (monotonicNow() - before <= SLOW_MS) {
      this.#slow.delete(operation);
      return false;
    }
    this.#slow.add(operation);
    this.#blockedUntil = sharedNow();
    return true;
  }

  #runUnary(call: HostedCall): void {
    const failed = (error: unknown): void => this.#end(call, [Kind.Fault, call.id, encodeError(error)], true);
    let result: unknown;
    try {
      result = (this.#model[call.operation] as Method).call(this.#model, call.input, call);
    } catch (error) {
      failed(error);
      return;
    }
    Promise.resolve(result).then((value) => this.#end(call, [Kind.Answer, call.id, value], true), failed);
  }

  async #runStream(call: HostedCall): Promise<void> {
    let last: Message;
    try {
      const chunks = await (this.#model[call.operation] as Method).call(this.#model, call.input, call);
      await readChunks(call.operation, chunks, call, (chunk) => this.#sendChunk(call, chunk));
      if (call.refusal !== undefined) throw call.refusal.reason;
      last = [Kind.End, call.id, call.sent];
    } catch (error) {
      last = [Kind.Fault, call.id, encodeError(error)];
    }
    this.#end(call, last, false);
  }

  /** False when the consumer has left, or the chunk could not be written. */
  async #sendChunk(call: HostedCall, chunk: unknown): Promise<boolean> {
    while (call.credits === 0 && !call.isClosed) {
      await new Promise<void>((resolve) => {
        call.wake = resolve;
      });
    }
    if (call.isClosed) return false;
    call.credits--;
    this.#link.post([Kind.Chunk, call.id, chunk, call.sent++], undefined, !isSmallData(chunk));
    this.#link.flush();
    return call.refusal === undefined;
  }

  /** The model has let go of a call. `hasResult` says that there is one, which is late where the call was given up. */
  #end(call: HostedCall, message: Message, hasResult: boolean): void {
    this.#board.end();
    this.#close(call, call.isClosed ? [Kind.Gone, call.id, hasResult] : message);
  }

  /** Sends the final message of a call. */
  #close(call: HostedCall, message: Message): void {
    this.#calls.delete(call.id);
    call.end();
    if (message[0] !== Kind.Answer) {
      this.#link.post(message);
      return;
    }
    const value = message[2];
    this.#link.post(message, this.#transfers ? findTransferable(value) : undefined, !isSmallData(value));
  }

  /** What a model answers with could not be written. */
  #onRefused(message: Message, reason: unknown): void {
    const id = message[1] as number;
    if (message[0] === Kind.Answer) this.#link.post([Kind.Fault, id, encodeError(reason)]);
    const call = this.#calls.get(id);
    if (message[0] === Kind.Chunk && call !== undefined) call.refusal = { reason };
  }

  #takenNotice(): Message | undefined {
    if (this.#fresh.length === 0) return undefined;
    const open = this.#fresh.filter(({ id }) => this.#calls.has(id));
    this.#fresh = [];
    return open.length === 0 ? undefined : [Kind.Taken, ...open.map(({ id }) => id)];
  }

  /** Says of each of some calls how many chunks were sent, or that it is not here. */
  #recount(ids: readonly number[]): void {
    this.#link.post([Kind.Recounted, ...ids.flatMap((id) => [id, this.#calls.get(id)?.sent ?? -1])]);
  }

  async #pong(id: number): Promise<void> {
    const { pid } = process;
    const report = { uptimeMs: monotonicNow() - this.#readyAt, pid, rss: process.memoryUsage.rss() };
    // What the model says may not be cloneable; the rest is plain.
    const model = this.#health === undefined ? {} : { model: plainCopy(await this.#health.ask()) };
    this.#link.post([Kind.Pong, id, { ...report, ...model }]);
  }
}
