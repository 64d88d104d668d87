import type { Clock } from '../../src/core/index.js';
import {
  createPool,
  MemoryGovernor,
  type CommonModelOptions,
  type ModelOptions,
  type Pool,
  type PooledWorker,
  type PoolOptions,
  type WorkerStart,
} from '../../src/pool/index.js';
import {
  DeadlineExceededError,
  operation,
  WorkerClosedError,
  WorkerCrashedError,
  WorkerLoadError,
  type WorkerState,
  type WorkerStatus,
} from '../../src/worker/index.js';

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

interface Running {
  readonly input: unknown;
  finish(): void;
  reject(error: unknown): void;
}

let crashes = 0;

/** A worker that answers on a clock: no loop, no model, the same surface as the real handle where a pool looks. */
export class SimulatedWorker implements PooledWorker {
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
  readonly #running = new Set<Running>();
  readonly #waiters = new Set<{
    test: (status: WorkerStatus) => boolean;
    resolve: (status: WorkerStatus) => void;
    reject: (error: unknown) => void;
  }>();
  readonly #releases: (() => void)[] = [];
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

  call = ((operationName: string, input: unknown, options: { signal?: AbortSignal; timeoutMs?: number } = {}) => {
    if (!['ready', 'processing', 'idle'].includes(this.#status.state)) return Promise.reject(this.#closed());
    this.given.push(input);
    this.inFlight += 1;
    this.mostInFlight = Math.max(this.mostInFlight, this.inFlight);
    if (this.#status.state !== 'processing') this.#become('processing');
    return new Promise((resolve, reject) => {
      let answered = false;
      const settle = (how: (value: never) => void, value: unknown) => {
        if (answered) return;
        answered = true;
        deadline?.cancel();
        options.signal?.removeEventListener('abort', onAbort);
        how(value as never);
      };
      const onAbort = () => settle(reject, options.signal?.reason);
      const deadline =
        options.timeoutMs === undefined
          ? undefined
          : this.#clock.setTimer(
              () => settle(reject, new DeadlineExceededError('late', options.timeoutMs as number)),
              options.timeoutMs,
            );
      if (options.signal?.aborted) queueMicrotask(onAbort);
      else options.signal?.addEventListener('abort', onAbort);
      const running: Running = {
        input,
        finish: () => {
          if (this.isStopped && this.#running.has(running)) {
            this.#clock.setTimer(running.finish, 1);
            return;
          }
          if (this.#behaviour.crashes?.(input, operationName) && this.#running.has(running)) {
            this.crash();
            return;
          }
          if (!this.#running.delete(running)) return;
          this.inFlight -= 1;
          for (const release of this.#releases.splice(0)) release();
          if (this.inFlight === 0 && this.#status.state === 'processing') this.#become('ready');
          try {
            settle(
              resolve,
              this.#behaviour.answer === undefined ? input : this.#behaviour.answer(input, operationName),
            );
          } catch (error) {
            settle(reject, error);
          }
        },
        reject: (error) => {
          if (!this.#running.delete(running)) return;
          this.inFlight -= 1;
          for (const release of this.#releases.splice(0)) release();
          settle(reject, error);
        },
      };
      this.#running.add(running);
      this.#clock.setTimer(running.finish.bind(running), this.#behaviour.serviceMs?.(input, operationName) ?? 0);
    });
  }) as unknown as PooledWorker['call'];

  stats = (() => ({ inFlight: Math.max(0, this.inFlight), queued: 0 })) as unknown as PooledWorker['stats'];

  isSilent = () => this.isStopped;

  released = () =>
    new Promise<void>((resolve) => {
      this.#releases.push(resolve);
    });

  ping: PooledWorker['ping'] = () => Promise.reject(new Error('no ping in the simulation'));

  async close(): Promise<void> {
    await this.destroy(undefined);
  }

  async destroy(reason?: unknown): Promise<void> {
    if (this.#status.state === 'dead') return;
    if (this.#status.state !== 'evicting') this.#become('evicting', reason);
    for (const running of [...this.#running]) running.reject(this.#closed(reason));
    this.#become('dead', reason);
  }

  /** Ends it as a signal would. */
  crash(): void {
    if (this.#status.state === 'dead') return;
    let error: Error = new WorkerCrashedError('killed', { signal: 'SIGKILL' });
    if (this.#status.state === 'loading') error = new WorkerLoadError('killed while it loaded', { cause: error });
    this.crashIndex = crashes++;
    this.lost = [...this.#running].map((running) => running.input);
    for (const running of [...this.#running]) running.reject(error);
    this.#become('failed', error);
    this.#become('dead', error);
  }

  /** Ends it as a loop of its own that returns. */
  retire(): void {
    for (const running of [...this.#running]) running.reject(this.#closed());
    this.#become('evicting');
    this.#become('dead');
  }

  #closed(cause: unknown = this.#status.cause): WorkerClosedError {
    return new WorkerClosedError('the worker is over', cause === undefined ? undefined : { cause });
  }

  #become(state: WorkerState, cause?: unknown): void {
    if (state === 'dead') for (const release of this.#releases.splice(0)) release();
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
  const pool = createPool({
    clock,
    governor,
    spawn: (start) => {
      starts.push(start);
      const worker = new SimulatedWorker(`w${workers.length}`, workers.length, clock, behaviour);
      workers.push(worker);
      return worker;
    },
    ...options,
  });
  return { pool, workers, starts, governor };
}

/** Model options for a simulation. */
export function simulated(
  options: Partial<CommonModelOptions<typeof echoOperations>> = {},
): ModelOptions<typeof echoOperations> {
  return { operations: echoOperations, module: 'simulated', timeoutMs: Number.POSITIVE_INFINITY, ...options };
}
