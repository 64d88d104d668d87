// Timers not from the globals, which a test environment may have replaced by a browser's: theirs can't be unreferenced.
import { clearInterval, setInterval } from 'node:timers';
import { CancellationToken, select, sleep } from '../../channels/index.js';
import { monotonicNow } from '../../core/index.js';
import type { Account } from '../account/account.js';
import type { WorkerHealth } from '../account/ledger.js';
import { decodeError, type EncodedError, encodeError } from '../codec/error-codec.js';
import { type HostHealth, type HostInit, Kind, type Message, sharedNow } from '../codec/link.js';
import { findTransferable, isSmallData } from '../codec/payload.js';
import { blameCaller, WorkerLoadError } from '../errors.js';
import type { Request } from '../request.js';
import type { StreamingRequest } from '../streaming-request.js';
import type { Executor } from './executor.js';
import { crashError, describeExit } from './host-exit.js';
import type { Host } from './host.js';
import { StallDetector, type StallLimits, type WatchedHost } from './stall-detector.js';

// Invariants:
// - `held` are the calls that were sent and have had no final message: at most `concurrency`.
// - Whatever ends the host (crash, exit, kill) goes one way: `exited` settles, `closed` is cancelled, and the loop ends the worker.
// - One value that can't be written or read costs its own call: what was lost is found by comparing what both sides hold.

/** How long a host may take to dispose of its model and end before it is killed, in ms: less than a closing handle waits. */
const RELEASE_MS = 4_000;

/** How long a host may take to answer a ping itself, in ms, before the handle answers for one that is inside a long call. */
const BUSY_MS = 1_000;

/** What a link executor is told. */
interface LinkSettings extends StallLimits {
  readonly startHost: () => Host;
  readonly init: HostInit;
  readonly transferInputs: boolean;
  readonly concurrency: number;
}

/** Runs requests in a model that lives in a thread or process: one host, from its start to its end. */
export class LinkExecutor implements Executor, WatchedHost {
  readonly isKillable = true;
  readonly closed: CancellationToken = new CancellationToken();
  onFreed: () => void = () => {};
  host!: Host;
  readonly held: Map<number, Request> = new Map();
  isLoading = true;
  readyAt: number | undefined;
  lastAnswerAt = 0;
  readonly #account: Account;
  readonly #settings: LinkSettings;
  readonly #keepAlive = new KeepAlive();
  readonly #pings: Map<number, (health: HostHealth | undefined) => void> = new Map();
  readonly #operations: readonly string[];
  readonly #onGone = (reason: unknown, { callId }: Request): void =>
    this.host.link.post([Kind.Abort, callId, encodeError(reason)]);
  #stall: StallDetector | undefined;
  /** How it hangs, when it does. */
  #stalled: string | undefined;
  #isDown = false;
  #ids = 0;
  #lastRss = 0;
  #onLoaded: (failure?: { readonly error: unknown }) => void = () => {};
  #disposeError: { readonly error: unknown } | undefined;
  /** How many messages the host could not read that are not accounted for yet: what they carried are inputs. */
  #unreadableThere = 0;

  constructor(account: Account, settings: LinkSettings) {
    this.#account = account;
    this.#settings = settings;
    this.#operations = Object.keys(settings.init.operations);
    account.isDistant = true;
    account.isSilent = () => !this.#isDown && this.#stall?.isSilent() === true;
  }

  get hasRoom(): boolean {
    return this.held.size < this.#settings.concurrency && !this.#isDown;
  }

  get isEmpty(): boolean {
    return this.held.size === 0;
  }

  // --- its life

  async load(onLoading: () => void): Promise<void> {
    const { init, startHost } = this.#settings;
    this.#keepAlive.hold('life');
    let host: Host;
    try {
      host = startHost();
    } catch (error) {
      throw new WorkerLoadError(`Cannot start worker: ${String(error)}`, { cause: error });
    }
    this.host = host;
    if (host.started === undefined) onLoading();
    else void host.started.then(onLoading);
    const loaded = new Promise<{ readonly error: unknown } | undefined>((resolve) => {
      this.#onLoaded = resolve;
    });
    void host.exited.then(() => this.#exited());
    this.#watch();
    host.link.receive((batch) => {
      for (const message of batch) this.#receive(message);
    });
    host.link.onUnreadable = () => this.#onUnreadable();
    host.link.onRefused = (message, reason) => this.#onRefused(message, reason);
    host.link.post([Kind.Init, init]);
    host.link.flush();
    const event = await select({ loaded, closed: this.closed }, { biased: true });
    if (event.arm !== 'loaded') {
      host.kill();
      const exit = await host.exited;
      const message = `Cannot load model: ${init.module} did not load, the worker ${this.#stalled ?? describeExit(exit)}`;
      throw new WorkerLoadError(message, { cause: crashError(this.#account.id, exit, this.#stalled) });
    }
    // Its first word may be read after its last.
    onLoading();
    if (event.value !== undefined) {
      await this.kill();
      throw event.value.error;
    }
    this.isLoading = false;
    this.lastAnswerAt = this.#account.clock.now();
    this.#keepAlive.release('life');
  }

  #watch(): void {
    this.#stall = new StallDetector(this.#account.clock, this.#settings, this, (reason, runningMs) => {
      this.#stalled = reason;
      this.#account.hub.emit({ type: 'stall', runningMs });
      this.#goDown();
    });
    this.#stall.watch();
  }

  #exited(): void {
    this.#stall?.stop();
    for (const resolve of this.#pings.values()) resolve(undefined);
    this.#pings.clear();
    this.#goDown();
  }

  #goDown(): void {
    this.#isDown = true;
    this.closed.cancel();
  }

  async release(): Promise<void> {
    const { clock, kill } = this.#account;
    const { host } = this;
    this.#keepAlive.hold('life');
    host.link.post([Kind.Close]);
    host.link.flush();
    const timer = sleep(RELEASE_MS, { clock, ref: false });
    const event = await select({ exited: host.exited, kill, timer });
    timer[Symbol.dispose]();
    if (event.arm !== 'exited') host.kill();
    await host.exited;
    if (this.#disposeError !== undefined) throw this.#disposeError.error;
  }

  async kill(): Promise<void> {
    // An idle worker held nothing so far: a caller that waits for its end must not be alone with an empty event loop.
    this.#keepAlive.hold('life');
    this.#stall?.stop();
    this.host.kill();
    await this.host.exited;
  }

  async failure(): Promise<unknown> {
    if (this.#stalled !== undefined) this.host.kill();
    const exit = await this.host.exited;
    const running = [...this.held.values()].map(({ operation }) => operation);
    const error = crashError(this.#account.id, exit, this.#stalled, running);
    const { hub } = this.#account;
    if (hub.hasAudience('crash')) hub.emit({ type: 'crash', error, held: this.held.size });
    return error;
  }

  drop(error: unknown): void {
    const held = [...this.held.keys()].map((id) => this.#own(id));
    this.held.clear();
    this.#stall?.stop();
    for (const request of held) {
      if (request === undefined) continue;
      request.onGone = undefined;
      this.#account.leaveModel(request, { error });
    }
    this.#keepAlive.close();
  }

  // --- calls

  start(request: Request): void {
    // Its caller gave up while it waited, or its worker has ended and another one has it.
    if (request.owner !== this.#account || request.isClosed) return;
    const id = ++this.#ids;
    this.held.set(id, request);
    this.#keepAlive.holdForCalls(true);
    this.#account.enterModel(request, request.clock.now());
    const { link } = this.host;
    request.callId = id;
    request.onGone = this.#onGone;
    const input = request.peekInput();
    const now = sharedNow();
    // The worker's clock may be a simulated one, which no other thread has.
    const dueAt = request.deadline === undefined ? undefined : now + request.deadline - request.enteredAt;
    const operation = this.#operations.indexOf(request.operation);
    const transfer = this.#settings.transferInputs && link.canTransfer ? findTransferable(input) : undefined;
    request.isInputMoved = transfer !== undefined;
    link.post([Kind.Call, id, operation, input, dueAt, request.traceparent, now], transfer, !isSmallData(input));
    if (request.kind === 'stream') {
      const stream = request as StreamingRequest;
      stream.onChunkTaken = () => {
        if (this.held.has(id)) link.post([Kind.Credit, id, 1]);
      };
      link.post([Kind.Credit, id, stream.chunkCapacity]);
    }
    // The host has nothing else to do: the first call does not wait for others of this turn.
    if (this.held.size === 1) link.flush();
    this.#stall?.watch();
  }

  seenInside(id: number): void {
    this.#own(id)?.arrive(true);
  }

  /** A call that is held; undefined where it is over, or has gone back to its maker, which may have given it to another worker. */
  #own(id: number): Request | undefined {
    const request = this.held.get(id);
    return request?.owner === this.#account ? request : undefined;
  }

  #receive(message: Message): void {
    const id = message[1] as number;
    switch (message[0]) {
      case Kind.Answer: {
        const request = this.#take(id);
        if (request?.kind === 'unary') request.send(message[2]);
        return;
      }
      case Kind.Fault:
        this.#finish(id, { error: decodeError(message[2] as EncodedError) });
        return;
      case Kind.Chunk:
        this.#onChunk(id, message[2], message[3] as number);
        return;
      case Kind.End: {
        const request = this.#take(id) as StreamingRequest | undefined;
        if (request?.kind !== 'stream') return;
        if (request.chunks === message[2]) request.end();
        else request.fail(unreadableError(request));
        return;
      }
      case Kind.Gone: {
        const request = this.#take(id);
        // A late result is counted. One that is still open here is overdue in a moment.
        if (message[2] === true && request?.isClosed) request.fail(undefined);
        return;
      }
      case Kind.Taken:
        for (let index = 1; index < message.length; index++) this.seenInside(message[index] as number);
        return;
      case Kind.Pong:
        this.#pings.get(id)?.(message[2] as HostHealth);
        this.#pings.delete(id);
        return;
      case Kind.Ready:
        this.readyAt = monotonicNow();
        this.#onLoaded();
        return;
      case Kind.LoadFailed:
        this.#onLoaded({ error: decodeError(message[1] as EncodedError) });
        return;
      case Kind.Preloaded:
        this.host.onPreloaded?.();
        return;
      case Kind.Closed:
        if (message[1] !== undefined) this.#disposeError = { error: decodeError(message[1] as EncodedError) };
        return;
      case Kind.Unreadable:
        this.#unreadableThere += 1;
        this.#onUnreadable();
        return;
      case Kind.Recounted:
        for (let index = 1; index < message.length; index += 2) {
          this.#compare(message[index] as number, message[index + 1] as number);
        }
        this.#unreadableThere = Math.max(0, this.#unreadableThere - 1);
        return;
    }
  }

  #onChunk(id: number, chunk: unknown, before: number): void {
    const request = this.#own(id);
    if (request?.kind !== 'stream') return;
    this.lastAnswerAt = this.#account.clock.now();
    if (request.chunks === before) void request.send(chunk);
    else this.#failStream(id, request);
  }

  #onRefused(message: Message, reason: unknown): void {
    if (message[0] === Kind.Init) {
      const text = 'Cannot load model: options must be data, they could not be cloned';
      this.#onLoaded({ error: new WorkerLoadError(text, { cause: reason }) });
    } else if (message[0] === Kind.Call) {
      this.#finish(message[1] as number, { error: reason }, true);
    }
  }

  #onUnreadable(): void {
    if (this.isLoading) {
      const message = 'Cannot load model: options must be data, they could not be read where they arrived';
      this.#onLoaded({ error: new WorkerLoadError(message) });
    } else {
      this.host.link.post([Kind.Recount, ...this.held.keys()]);
    }
  }

  /** @param chunks How many the host has sent of a call's stream; -1 when it does not hold the call. */
  #compare(id: number, chunks: number): void {
    const request = this.#own(id);
    if (request === undefined) return;
    if (chunks < 0) this.#finish(id, { error: unreadableError(request) }, this.#unreadableThere > 0);
    else if (chunks > request.chunks) this.#failStream(id, request);
  }

  /** A chunk was lost: its consumer gets no further. */
  #failStream(id: number, request: Request): void {
    if (request.isClosed) return;
    const error = unreadableError(request);
    this.host.link.post([Kind.Abort, id, encodeError(error)]);
    request.fail(error);
  }

  /** @param isUnreached Whether its input did not get to the model. */
  #finish(id: number, failure: { readonly error: unknown }, isUnreached = false): void {
    if (isUnreached) blameCaller(failure.error);
    const request = this.#take(id, failure, isUnreached);
    request?.fail(failure.error);
  }

  /** The host is done with a call: its place is free. */
  #take(id: number, failure?: { readonly error: unknown }, isUnreached = false): Request | undefined {
    const request = this.#own(id);
    if (!this.held.delete(id)) return undefined;
    if (request !== undefined) {
      request.onGone = undefined;
      request.isUnreached = isUnreached;
      request.arrive(false);
      this.#account.leaveModel(request, failure);
    }
    this.lastAnswerAt = this.#account.clock.now();
    if (this.held.size === 0) this.#keepAlive.holdForCalls(false);
    this.onFreed();
    return request;
  }

  // --- health

  /** Asks the host how it is. Undefined when it ends. */
  ping(): Promise<HostHealth | undefined> {
    if (this.#isDown) return Promise.resolve(undefined);
    const id = ++this.#ids;
    return new Promise((resolve) => {
      this.#pings.set(id, resolve);
      this.host.link.post([Kind.Ping, id]);
    });
  }

  async health(gaveUp: Promise<void>): Promise<WorkerHealth | undefined> {
    const { clock } = this.#account;
    // A ping holds the process as a call does.
    const reason = `ping ${this.#ids}`;
    this.#keepAlive.hold(reason);
    const said = this.ping();
    const timer = sleep(BUSY_MS, { clock, ref: false });
    const event = await select({ said, gaveUp, timer });
    timer[Symbol.dispose]();
    // It has no time to answer. What the handle knows tells a long call from a hang: since when it runs.
    const isBusy = event.arm === 'timer' && this.#isInLongCall();
    const host = isBusy
      ? { pid: this.host.pid ?? process.pid, rss: this.#lastRss }
      : await Promise.race([said, gaveUp]);
    this.#keepAlive.release(reason);
    if (!host) return undefined;
    this.#lastRss = host.rss;
    return { ...this.#account.health(), ...host };
  }

  /** Whether the host shows signs of life, and has a call inside its model. */
  #isInLongCall(): boolean {
    const seen = this.host.progress();
    return seen !== undefined && seen.value.begun !== seen.value.ended && monotonicNow() - seen.heardAt < BUSY_MS;
  }
}

function unreadableError({ operation }: Request): DOMException {
  const message = `Cannot call ${operation}: input and output must be data, one could not be read where it arrived`;
  return new DOMException(message, 'DataCloneError');
}

/** The longest interval a timer takes; it does nothing when it fires. */
const FOR_EVER_MS = 2 ** 31 - 1;

/**
 * Holds the process while there is a reason to. Everything of a host is unreferenced, so that an idle worker holds nothing; one timer, made once
 * and referenced as needed, holds the process while calls are under way, a host is starting or a worker is closing.
 */
class KeepAlive {
  readonly #timer: NodeJS.Timeout = setInterval(() => {}, FOR_EVER_MS).unref();
  readonly #reasons = new Set<string>();
  #hasCalls = false;
  #isHeld = false;

  hold(reason: string): void {
    this.#reasons.add(reason);
    this.#update();
  }

  release(reason: string): void {
    if (this.#reasons.size > 0 && this.#reasons.delete(reason)) this.#update();
  }

  /** Says whether calls are under way, which they begin and cease to be all the time. */
  holdForCalls(hasCalls: boolean): void {
    if (hasCalls === this.#hasCalls) return;
    this.#hasCalls = hasCalls;
    this.#update();
  }

  close(): void {
    this.#reasons.clear();
    clearInterval(this.#timer);
  }

  #update(): void {
    const isHeld = this.#hasCalls || this.#reasons.size > 0;
    if (isHeld === this.#isHeld) return;
    this.#isHeld = isHeld;
    if (isHeld) this.#timer.ref();
    else this.#timer.unref();
  }
}
