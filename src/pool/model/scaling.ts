/**
 * When a model gets another worker and when it loses one: a pure function of a snapshot, so that every rule is testable without a clock.
 *
 * Hysteresis: growing needs every worker full and requests waiting for `scaleUpAfterMs` without a break, one worker at a time, counted anew from the last
 * change; shrinking needs a worker without work for `idleTimeoutMs`, and never happens while anything waits. Load at the edge moves one clock or the
 * other back, so it cannot make workers come and go.
 */

/** The scaling rules of a model. Times in ms. */
export interface ScalingRules {
  readonly minWorkers: number;
  readonly maxWorkers: number;
  /** How long all workers must be full, with requests waiting, before one more is started. */
  readonly scaleUpAfterMs: number;
  readonly idleTimeoutMs: number;
}

/** A worker as the scaling decision sees it. */
export interface ScalingWorker {
  readonly id: string;
  /** Since when it has had nothing to do; undefined while it works. */
  readonly idleSince: number | undefined;
}

/** Everything the scaling decision depends on. */
export interface ScalingSnapshot<W extends ScalingWorker = ScalingWorker> {
  readonly now: number;
  /** Requests that wait for a worker. */
  readonly queued: number;
  /** Workers that were started and are not ready yet. */
  readonly starting: number;
  /** Workers that can accept work. */
  readonly workers: readonly W[];
  /** Workers that crashed and have not been replaced. */
  readonly missing: number;
  /** Since when requests have waited and all workers been full; undefined when that is not so. */
  readonly saturatedSince: number | undefined;
  /** When a worker last became ready. */
  readonly lastGrowthAt: number;
  /** No worker may be started before this (back-off after a failed load). */
  readonly notBefore: number;
}

/** What to do now, and when to look again. */
export interface ScalingDecision<W extends ScalingWorker = ScalingWorker> {
  readonly start: number;
  /** Workers to evict, the least recently used first. */
  readonly evict: readonly W[];
  /** When time alone will change the answer; undefined when it never will. */
  readonly recheckAt: number | undefined;
}

/** Decides what to do about the number of a model's workers. */
export function decideScaling<W extends ScalingWorker>(
  rules: ScalingRules,
  snapshot: ScalingSnapshot<W>,
): ScalingDecision<W> {
  const { now, queued, starting, workers } = snapshot;
  const live = workers.length + starting;
  let recheckAt: number | undefined;
  const lookAgain = (at: number) => {
    recheckAt = recheckAt === undefined ? at : Math.min(recheckAt, at);
  };

  let start = Math.max(0, rules.minWorkers - live);
  if (queued > 0 && live === 0) start = Math.max(start, 1);
  // The load had called for them.
  if (queued > 0) start = Math.max(start, Math.min(snapshot.missing, rules.maxWorkers - live));
  if (start === 0 && queued > 0 && starting === 0 && live < rules.maxWorkers && snapshot.saturatedSince !== undefined) {
    const due = Math.max(snapshot.saturatedSince, snapshot.lastGrowthAt) + rules.scaleUpAfterMs;
    if (now >= due) start = 1;
    else lookAgain(due);
  }
  if (start > 0 && now < snapshot.notBefore) {
    lookAgain(snapshot.notBefore);
    start = 0;
  }

  const evict: W[] = [];
  let surplus = live - rules.minWorkers;
  if (queued === 0 && surplus > 0) {
    const idle = workers.filter((worker) => worker.idleSince !== undefined);
    idle.sort((a, b) => (a.idleSince as number) - (b.idleSince as number));
    for (const worker of idle) {
      if (surplus <= 0) break;
      const due = (worker.idleSince as number) + rules.idleTimeoutMs;
      if (now >= due) {
        evict.push(worker);
        surplus -= 1;
      } else {
        lookAgain(due);
        break;
      }
    }
  }
  return { start, evict, recheckAt };
}
