/** `MILLRACE_SOAK_MINUTES` shortens it; 30 by default. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { PoolStats } from '../../src/pool/index.js';

interface Report {
  readonly tally: { readonly asked: number; readonly answered: number; readonly rejected: Record<string, number> };
  readonly stats: PoolStats;
  readonly early: NodeJS.MemoryUsage;
  readonly late: NodeJS.MemoryUsage;
  readonly treeBefore: number;
  readonly treeAfter: number;
  readonly children: number;
}

test('soak: mixed load on three models with evictions and kills leaves the ledger exact and the memory where it was', async () => {
  const minutes = Number(process.env.MILLRACE_SOAK_MINUTES ?? 30);
  const script = fileURLToPath(new URL('./fixtures/soak.mjs', import.meta.url));
  // V8's young generation would come and go with the load, by 15 MB.
  const flags = ['--expose-gc', '--max-semi-space-size=2'];
  const child = spawn(process.execPath, [...flags, script, String(minutes)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    // Of what is freed glibc gives back only what lies above everything in use: one small block above the buffers of a busy moment keeps all of them
    // resident (of a heap of 71 MB, 13 were in use). With blocks of a page or more in mappings of their own resident memory is what is held.
    env: { MALLOC_TOP_PAD_: '0', MALLOC_MMAP_THRESHOLD_: '4096', ...process.env },
  });
  let output = '';
  child.stdout.on('data', (data) => {
    output += data;
  });
  const [code] = await once(child, 'close');
  expect(code).toBe(0);
  const report = JSON.parse(output) as Report;
  const { stats, tally } = report;
  process.stdout.write(`${JSON.stringify(report)}\n`);
  expect(stats.pending).toBe(0);
  for (const model of Object.values(stats.models)) {
    for (const each of Object.values(model.operations)) {
      expect(each.accepted).toBe(each.succeeded + each.failed + each.expired + each.cancelled);
    }
    expect(model.crashes).toBeGreaterThan(0);
    expect(model.evictions).toBeGreaterThan(0);
  }
  const rejected = Object.values(tally.rejected).reduce((sum, count) => sum + count, 0);
  expect(tally.answered + rejected).toBe(tally.asked);
  expect(report.late.rss / report.early.rss).toBeLessThan(1.05);
  expect(report.late.heapUsed - report.early.heapUsed).toBeLessThan(2e6);
  expect(report.treeAfter - report.treeBefore).toBeLessThan(10e6);
  expect(report.children).toBe(0);
}, 3_600_000);
