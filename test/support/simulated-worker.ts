import { type Clock, SimulatedClock } from '../../src/channels/index.js';
import {
  type CommonModelOptions,
  createPool,
  MemoryGovernor,
  type ModelHandle,
  type ModelOptions,
  type Pool,
  type PoolOptions,
} from '../../src/pool/index.js';
import type { InternalPoolOptions, PooledWorker, WorkerStart } from '../../src/pool/internal.js';
import {
  operation,
  WorkerClosedError,
  WorkerCrashedError,
  WorkerLoadError,
  type WorkerState,
  type WorkerStatus,
} from '../../src/worker/index.js';
import type { Request, RequestOwner } from '../../src/worker/internal.js';

/** How simulated workers behave. */
export interface Behaviour {
  /** How long a load takes, in ms. */
  loadMs?: number;
  /** Fails the n-th load (from 0) with what this answers, if anything. */
  loadError?: (index: number) => unknown;
  /** How long a request takes, in ms. */
  serviceMs?: (input: unknown, operation: string) => number;
  /** What a request is answered with; what it throws is the model's failure. */
  answer?: (input: unknown, operation: string) => unknown;
  /** Whether a request ends its worker when it would be answered. */
  crashes?: (input: unknown, operation: string) => boolean;
}

let crashes = 0;

/** A worker that answers on a clock: no loop, no model, the same surface as the real one where a pool looks. */
export class SimulatedWorker implements PooledWorker, RequestOwner {
  readonly id: string;
  readonly given: unknown[] = [];
  inFlight = 0;
  mostInFlight = 0;
  /** Whether it stands still: it answers nothing, and gives no sign of life. */
  isStopped = false;
  /** What it held when it crashed; undefined unless it has. */
  lost: unknown[] | undefined;
  /** Which crash of all it was. */
  crashIndex = 0;
  readonly #clock: Clock;
  readonly #behaviour: Behaviour;
  readonly #running = new Map<Request, unknown>();
  readonly #waiters = new Set<{
    test: (status: WorkerStatus) => boolean;
    resolve: (status: WorkerStatus) => void;
    reject: (error: unknown) => void;
  }>();
  #status: WorkerStatus = { state: 'loading', enteredAt: 0 };

  constructor(id: string, index: number, clock: Clock, behaviour: Behaviour) {
    this.id = id;
    this.#clock = clock;
    this.#behaviour = behaviour;
    const loaded = () => {
      if (this.#status.state !== 'loading') return;
      const error = behaviour.loadError?.(index);
      if (error === undefined) this.#become('ready');
      else {
        this.#become('failed', error);
        this.#become('dead', error);
      }
    };
    if (behaviour.loadMs === undefined) queueMicrotask(loaded);
    else clock.setTimer(loaded, behaviour.loadMs);
  }

  get state() {
    return {
      current: this.#status.state,
      borrow: () => this.#status,
      waitFor: (wanted: WorkerState | readonly WorkerState[] | ((status: WorkerStatus) => boolean)) => {
        const test =
          typeof wanted === 'function'
            ? wanted
            : (status: WorkerStatus) => ([] as WorkerState[]).concat(wanted as WorkerState).includes(status.state);
        if (test(this.#status)) return Promise.resolve(this.#status);
        if (this.#status.state === 'dead') return Promise.reject(this.#closed());
        return new Promise<WorkerStatus>((resolve, reject) => {
          this.#waiters.add({ test, resolve, reject });
        });
      },
    };
  }

  start(request: Request): void {
    const input = request.peekInput();
    request.owner = this;
    if (!['ready', 'processing', 'idle'].includes(this.#status.state)) {
      this.#lose(request, this.#closed());
      return;
    }
    this.given.push(input);
    this.inFlight += 1;
    this.mostInFlight = Math.max(this.mostInFlight, this.inFlight);
    if (this.#status.state !== 'processing') this.#become('processing');
    request.take();
    request.isInModel = true;
    request.enteredAt = this.#clock.now();
    this.#running.set(request, input);
    const serviceMs = this.#behaviour.serviceMs?.(input, request.operation) ?? 0;
    this.#clock.setTimer(() => this.#finish(request, input), serviceMs);
  }

  onSettled(): void {}

  isSilent = () => this.isStopped;

  ping: PooledWorker['ping'] = () => Promise.reject(new Error('no ping in the simulation'));

  async close(): Promise<void> {
    await this.destroy(undefined);
  }

  async destroy(reason?: unknown): Promise<void> {
    if (this.#status.state === 'dead' || this.#status.state === 'failed') return;
    if (this.#status.state !== 'evicting') this.#become('evicting', reason);
    this.#become('dead', reason);
    this.#loseAll(this.#closed(reason));
  }

  /** Ends it as a signal would. */
  crash(): void {
    if (this.#status.state === 'dead') return;
    let error: Error = new WorkerCrashedError('killed', { signal: 'SIGKILL' });
    if (this.#status.state === 'loading') error = new WorkerLoadError('killed while it loaded', { cause: error });
    this.crashIndex = crashes++;
    this.lost = [...this.#running.values()];
    this.#become('failed', error);
    this.#loseAll(error);
    this.#become('dead', error);
  }

  /** Ends it as a loop of its own that returns. */
  retire(): void {
    this.#become('evicting');
    this.#become('dead');
    this.#loseAll(this.#closed());
  }

  #finish(request: Request, input: unknown): void {
    if (!this.#running.has(request)) return;
    if (this.isStopped) {
      this.#clock.setTimer(() => this.#finish(request, input), 1);
      return;
    }
    if (this.#behaviour.crashes?.(input, request.operation)) {
      this.crash();
      return;
    }
    let answer: unknown;
    try {
      answer = this.#behaviour.answer === undefined ? input : this.#behaviour.answer(input, request.operation);
    } catch (error) {
      this.#answer(request, () => request.fail(error));
      return;
    }
    if (answer instanceof Promise) {
      answer.then(
        (value) => this.#answer(request, () => request.send(value)),
        (error: unknown) => this.#answer(request, () => request.fail(error)),
      );
    } else this.#answer(request, () => request.send(answer));
  }

  #answer(request: Request, answer: () => unknown): void {
    if (!this.#running.has(request)) return;
    this.#let(request);
    if (this.inFlight === 0 && this.#status.state === 'processing') this.#become('ready');
    answer();
    request.releaseIfDone();
  }

  #loseAll(error: unknown): void {
    for (const request of [...this.#running.keys()]) {
      if (!this.#running.has(request)) continue;
      this.#let(request);
      this.#lose(request, error);
    }
  }

  #lose(request: Request, error: unknown): void {
    if (request.phase !== 'answered' && request.isWantedBack(error)) request.goBack(error);
    else request.giveUp('failed', error);
    request.releaseIfDone();
  }

  // Its model has let go of it.
  #let(request: Request): void {
    this.#running.delete(request);
    this.inFlight -= 1;
    request.isInModel = false;
  }

  #closed(cause: unknown = this.#status.cause): WorkerClosedError {
    return new WorkerClosedError('the worker is over', cause === undefined ? undefined : { cause });
  }

  #become(state: WorkerState, cause?: unknown): void {
    this.#status = { state, enteredAt: this.#clock.now(), cause };
    for (const waiter of [...this.#waiters]) {
      if (waiter.test(this.#status)) waiter.resolve(this.#status);
      else if (state === 'dead') waiter.reject(this.#closed());
      else continue;
      this.#waiters.delete(waiter);
    }
  }
}

/** A pool of simulated workers with one model, `m`, that echoes. */
export interface Simulation {
  readonly pool: Pool;
  readonly workers: SimulatedWorker[];
  readonly starts: WorkerStart[];
  readonly governor: MemoryGovernor;
}

export const echoOperations = {
  echo: operation<unknown, unknown>({ capacity: 64, idempotent: true }),
  once: operation<unknown, unknown>({ capacity: 64 }),
};

/** Makes a pool whose workers are simulated on a clock; `behaviour` may be changed on the way. */
export function simulate(clock: Clock, behaviour: Behaviour = {}, options: PoolOptions = {}): Simulation {
  const workers: SimulatedWorker[] = [];
  const starts: WorkerStart[] = [];
  const governor = options.governor ?? new MemoryGovernor({ limitBytes: 1e12, clock });
  const spawn = (start: WorkerStart): SimulatedWorker => {
    starts.push(start);
    const worker = new SimulatedWorker(`w${workers.length}`, workers.length, clock, behaviour);
    workers.push(worker);
    return worker;
  };
  const pool = createPool({ clock, governor, spawn, ...options } as InternalPoolOptions);
  return { pool, workers, starts, governor };
}

/** Model options for a simulation. */
export function simulated(
  options: Partial<CommonModelOptions<typeof echoOperations>> = {},
): ModelOptions<typeof echoOperations> {
  return { operations: echoOperations, module: 'simulated', timeoutMs: Number.POSITIVE_INFINITY, ...options };
}

/** A simulation on a clock of its own, whose model is registered with these options. */
export function simulateModel(
  behaviour: Behaviour = {},
  options: Partial<CommonModelOptions<typeof echoOperations>> = {},
): Simulation & { readonly clock: SimulatedClock; readonly model: ModelHandle<typeof echoOperations> } {
  const clock = new SimulatedClock();
  const simulation = simulate(clock, behaviour);
  return { ...simulation, clock, model: simulation.pool.register('m', simulated(options)) };
}
