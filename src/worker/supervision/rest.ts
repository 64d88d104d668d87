import type { ClockTimer } from '../../core/index.js';
import type { WorkerCore } from '../worker-core.js';
import type { KeepAlive } from './keep-alive.js';
import { inNeutralContext } from '../trace.js';

/** A worker's rest: one that holds no calls does not hold the process, and calls itself idle after a while. */
export class Rest {
  readonly #core: WorkerCore;
  readonly #keepAlive: KeepAlive;
  readonly #idleTimeoutMs: number;
  #quietSince = 0;
  #timer: ClockTimer | undefined;

  constructor(core: WorkerCore, keepAlive: KeepAlive, idleTimeoutMs: number) {
    this.#core = core;
    this.#keepAlive = keepAlive;
    this.#idleTimeoutMs = idleTimeoutMs;
  }

  /** The worker serves, and holds so many calls. */
  note(held: number, at: number = this.#core.clock.now()): void {
    this.#keepAlive.holdForCalls(held > 0);
    this.#keepAlive.release('life');
    if (held > 0) return;
    this.#quietSince = at;
    if (this.#timer === undefined && Number.isFinite(this.#idleTimeoutMs)) this.#arm();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** One timer that looks when it fires how long it has been quiet: none is started or stopped for each request. */
  #arm(): void {
    const { clock, state } = this.#core;
    const look = (): void => {
      this.#timer = undefined;
      if (state.current !== 'ready') return;
      if (clock.now() - this.#quietSince < this.#idleTimeoutMs) this.#arm();
      else this.#core.enter('idle', undefined);
    };
    const ms = this.#quietSince + this.#idleTimeoutMs - clock.now();
    this.#timer = inNeutralContext(() => clock.setTimer(look, ms));
  }
}
