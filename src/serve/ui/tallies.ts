/** Histograms of the dashboard: counts by an inclusive upper bound, as the workers tell them, added up over workers that come and go. */

/** How many were at most so large, and larger than the bound before. */
export type Tally = Readonly<Record<string, number>>;

/** What a model's workers tell: how long images took, in ms, and how large the batches were. */
export const TOLD_TALLIES = ['decodeMs', 'runMs', 'batchSizes'] as const;

/** One of them. */
export type ToldTally = (typeof TOLD_TALLIES)[number];

/** Inclusive upper bounds of waits, in ms: those that workers count by. */
const BOUNDS_MS: readonly number[] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000];

/** Adds one to the count that a duration belongs to. */
export function tallyMs(tally: Record<string, number>, ms: number): void {
  const bound = BOUNDS_MS.find((each) => ms <= each) ?? Number.POSITIVE_INFINITY;
  tally[bound] = (tally[bound] ?? 0) + 1;
}

/** Adds up what workers told, those that have ended included. */
export class WorkerTallies {
  readonly #live = new Map<string, Partial<Record<ToldTally, Tally>>>();
  readonly #ended: Record<ToldTally, Record<string, number>> = { decodeMs: {}, runMs: {}, batchSizes: {} };

  /** Notes what the workers that are there now told last, by their names. */
  note(told: ReadonlyMap<string, unknown>): void {
    for (const [worker, tallies] of this.#live) {
      if (told.has(worker)) continue;
      for (const name of TOLD_TALLIES) add(this.#ended[name], tallies[name]);
      this.#live.delete(worker);
    }
    for (const [worker, health] of told) {
      const known = this.#live.get(worker) ?? {};
      const tallies = TOLD_TALLIES.map((name) => [name, tallyIn(health, name) ?? known[name]] as const);
      this.#live.set(worker, Object.fromEntries(tallies.filter(([, tally]) => tally !== undefined)));
    }
  }

  /** The sum over all workers. */
  sum(name: ToldTally): Tally {
    const sum = { ...this.#ended[name] };
    for (const tallies of this.#live.values()) add(sum, tallies[name]);
    return sum;
  }
}

function add(sum: Record<string, number>, tally: Tally | undefined): void {
  for (const [bound, count] of Object.entries(tally ?? {})) sum[bound] = (sum[bound] ?? 0) + count;
}

/** A tally in what a model's `health()` answered with, where there is one. */
function tallyIn(health: unknown, name: ToldTally): Tally | undefined {
  const tally = (health as Partial<Record<ToldTally, unknown>> | null | undefined)?.[name];
  if (typeof tally !== 'object' || tally === null) return undefined;
  const isSound = Object.entries(tally).every(([bound, count]) => Number(bound) > 0 && Number.isSafeInteger(count));
  return isSound ? (tally as Tally) : undefined;
}
