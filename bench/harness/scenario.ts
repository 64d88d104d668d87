/** What a contender gives the harness. */

/** What one run of a scenario did, for the harness to check and to show. */
export interface Outcome {
  /** How many messages (turns, objects) went through. */
  readonly count: number;
  /** The sum of their values, where the scenario promises one. */
  readonly sum?: number;
  /** How long it took, in ms, when the scenario times a part of itself only. */
  readonly ms?: number;
  /** The CPU time of the same part, in ms. */
  readonly cpuMs?: number;
  /** More figures to show, such as `bytes` per object or `fairness`. */
  readonly figures?: Readonly<Record<string, number>>;
}

/** Runs once with `n` messages. */
export type Scenario = (n: number) => Promise<Outcome>;

/** A contender module: `export const scenarios: Scenarios`. It leaves out what it cannot do. */
export type Scenarios = Readonly<Record<string, Scenario>>;

/** The live heap after a collection, in bytes. */
export function liveHeap(): number {
  const { gc } = globalThis as { gc?: () => void };
  gc?.();
  gc?.();
  return process.memoryUsage().heapUsed;
}

/** Starts measuring a part of a scenario. @returns What ends it. */
export function stopwatch(): () => { ms: number; cpuMs: number } {
  const cpu = process.cpuUsage();
  const start = performance.now();
  return () => {
    const ms = performance.now() - start;
    const { user, system } = process.cpuUsage(cpu);
    return { ms, cpuMs: (user + system) / 1_000 };
  };
}
