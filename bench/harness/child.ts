/** A contender's process: runs one scenario as often as it is told, and answers with times and checks. */
import type { Scenarios } from './scenario.js';

export interface RunReport {
  readonly ms: number;
  readonly cpuMs: number;
  readonly count: number;
  readonly sum?: number | undefined;
  readonly figures?: Readonly<Record<string, number>> | undefined;
  readonly error?: string;
}

const [moduleUrl, name] = process.argv.slice(2) as [string, string];
const { scenarios } = (await import(moduleUrl)) as { scenarios: Scenarios };
const scenario = scenarios[name];
if (scenario === undefined) {
  process.send?.({ missing: true });
} else {
  process.on('message', async ({ n, gc }: { n: number; gc: boolean }) => {
    if (gc) (globalThis as { gc?: () => void }).gc?.();
    const cpu = process.cpuUsage();
    const start = performance.now();
    try {
      const outcome = await scenario(n);
      const elapsed = performance.now() - start;
      const { user, system } = process.cpuUsage(cpu);
      const { count, sum, figures } = outcome;
      process.send?.({
        ms: outcome.ms ?? elapsed,
        cpuMs: outcome.cpuMs ?? (user + system) / 1_000,
        count,
        sum,
        figures,
      });
    } catch (error) {
      process.send?.({ ms: 0, cpuMs: 0, count: 0, error: error instanceof Error ? error.stack : String(error) });
    }
  });
  process.send?.({ ready: true });
}
