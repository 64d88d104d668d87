import { monotonicNow } from '../../core/index.js';
import type { Ping } from '../worker-channels.js';
import type { WorkerCore } from '../worker-core.js';
import type { HostClient } from './host-client.js';
import type { KeepAlive } from './keep-alive.js';

/** How long a host may take to answer a ping itself, in ms, before the handle answers for one that is inside a long call. */
const BUSY_MS = 1_000;

/** Answers pings of a worker whose model lives elsewhere. */
export class PingAnswerer {
  readonly #core: WorkerCore;
  readonly #keepAlive: KeepAlive;
  #pings = 0;
  /** Resident memory of the host, as it last said. */
  #lastRss = 0;

  constructor(core: WorkerCore, keepAlive: KeepAlive) {
    this.#core = core;
    this.#keepAlive = keepAlive;
  }

  answer(client: HostClient, { reply }: Ping): void {
    // A ping holds the process as a call does.
    const reason = `ping ${++this.#pings}`;
    this.#keepAlive.hold(reason);
    let isAnswered = false;
    const timer = this.#core.clock.setTimer(() => {
      // The loop has no time to answer. What the handle knows tells a long call from a hang: since when it runs.
      if (!isInLongCall(client)) return;
      isAnswered = true;
      reply.send({ ...this.#core.health(), pid: client.host.pid ?? process.pid, rss: this.#lastRss });
    }, BUSY_MS);
    void client.ping().then((health) => {
      timer.cancel();
      this.#keepAlive.release(reason);
      if (health === undefined) {
        // Gone while it was asked: whoever asks again is answered by its replacement.
        if (!isAnswered) reply.close();
        return;
      }
      this.#lastRss = health.rss;
      if (isAnswered) return;
      // The model's numbers are the host's; the queue and the state are the handle's.
      const { state, stateMs, queueDepth, inFlight } = this.#core.health();
      reply.send({ ...health, state, stateMs, queueDepth, inFlight });
    });
  }
}

/** Whether a host shows signs of life, and has a call inside its model. */
function isInLongCall({ host }: HostClient): boolean {
  const seen = host.progress();
  return seen !== undefined && seen.value.begun !== seen.value.ended && monotonicNow() - seen.heardAt < BUSY_MS;
}
