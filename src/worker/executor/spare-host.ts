import { fillOptions, option } from '../../core/index.js';
import { Kind } from '../codec/link.js';
import { type Host, HOST_OPTIONS, type HostOptions, requireModuleUrl } from './host.js';
import { startProcessHost } from './process.js';

/** Options of {@link startSpareHost}: how the process is started, as for `spawnWorker`, and what it makes ready. */
export interface SpareHostOptions extends HostOptions {
  /**
   * URL of a model module. It is imported ahead; if it exports a function `preload`, that is called, and may import and warm what every load needs.
   * What fails of that fails again at the load, which reports it.
   */
  readonly module?: URL | string | undefined;
}

const SPARE_OPTIONS = { ...HOST_OPTIONS, module: option(requireModuleUrl) };

/**
 * A child process that waits for a model to load. Made by {@link startSpareHost}, taken over by `spawnWorker({ spare })`.
 *
 * Invariant: it is taken once at most, and then belongs to its worker; until then no worker knows of it, and it may be ended.
 */
export class SpareHost implements Disposable {
  /** Resolves once its module is imported and preloaded: with true, or with false when it ended before. Never rejects. */
  readonly ready: Promise<boolean>;
  /** Resolves once the process is gone. Never rejects. */
  readonly exited: Promise<void>;
  readonly #host: Host;
  #onPreloaded!: () => void;
  #isTaken = false;
  #isOver = false;

  /** @internal */
  constructor(host: Host, module: string | undefined) {
    this.#host = host;
    this.exited = host.exited.then(() => {
      this.#isOver = true;
    });
    this.ready = new Promise((resolve) => {
      this.#onPreloaded = () => resolve(true);
      host.link.receive((batch) => {
        if (batch.some((message) => message[0] === Kind.Preloaded)) resolve(true);
      });
      void this.exited.then(() => resolve(false));
      if (module === undefined && host.pid !== undefined) resolve(true);
    });
    if (module !== undefined) host.link.post([Kind.Preload, module]);
    host.link.flush();
  }

  /** The process; undefined when it could not be started. */
  get pid(): number | undefined {
    return this.#host.pid;
  }

  /** Whether a worker can still take it. */
  get isAvailable(): boolean {
    return !this.#isTaken && !this.#isOver && this.#host.pid !== undefined;
  }

  /** Ends it, unless a worker has taken it. */
  [Symbol.dispose](): void {
    if (this.#isTaken) return;
    this.#isOver = true;
    this.#host.kill();
  }

  /**
   * Takes it over, if it is still to be had.
   *
   * @internal
   */
  claim(): Host | undefined {
    if (!this.isAvailable) return undefined;
    this.#isTaken = true;
    return { ...this.#host, onPreloaded: this.#onPreloaded };
  }
}

/**
 * Starts a child process ahead of the worker that will need it: `spawnWorker({ spare })` then loads its model there at once, without waiting for a
 * process to start and for modules to be imported.
 *
 * It does not hold the process, and does not outlive it.
 *
 * @param options See {@link SpareHostOptions}; unknown keys are refused.
 * @returns The process, to be handed to one worker or disposed of.
 * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown.
 * @example
 * ```ts
 * const spare = startSpareHost({ stdio: 'ignore' });
 * await spare.ready; // => true
 * spare.isAvailable; // => true
 * spare[Symbol.dispose]();
 * await spare.exited;
 * spare.isAvailable; // => false
 * ```
 */
export function startSpareHost(options?: SpareHostOptions): SpareHost {
  const { module, ...settings } = fillOptions('Cannot start spare host', options, SPARE_OPTIONS);
  return new SpareHost(startProcessHost(settings), module);
}
