import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { createIndex, openIndex } from '../../src/search/index.js';

const WRITER = fileURLToPath(new URL('./support/killed-writer.mjs', import.meta.url));

/** What a writer has said before its end. */
interface Told {
  readonly lines: readonly string[];
  readonly signal: string | null;
}

function runWriter(folder: string, at: number, how: string): Promise<Told> {
  const child = spawn(process.execPath, [WRITER, folder, String(at), how], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += String(chunk);
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (_code, signal) => resolve({ lines: text.split('\n').filter(Boolean), signal }));
  });
}

/**
 * Kills a writer at every `step`-th call to the file system, always on the same index, and checks after each death what the index holds.
 *
 * @param step 1 for every call.
 */
export function testKills(step: number): void {
  it(`an index opens and goes on after kill -9 at every ${step === 1 ? '' : `${step}th `}call to the file system`, async () => {
    const root = await mkdtemp(path.join(tmpdir(), 'millrace-kills-'));
    const folder = path.join(root, 'photos.idx');
    try {
      await (await createIndex(folder, { dimension: 4 })).close();
      const known = new Set<number>();
      let deaths = 0;
      for (let at = 1, isDone = false; !isDone; at += step) {
        const how = (['before', 'after', 'torn'] as const)[at % 3] as string;
        const { lines, signal } = await runWriter(folder, at, how);
        isDone = signal === null;
        if (!isDone) deaths++;
        for (const line of lines) {
          const [sign, ...seeds] = line.split(' ');
          for (const seed of seeds.map(Number)) {
            if (sign === '+') known.add(seed);
            else if (sign === '-') known.delete(seed);
          }
        }
        const begun = lines.findLast((line) => line.startsWith('~'));
        await check(folder, known, Number(begun?.slice(2)));
      }
      expect(deaths).toBeGreaterThan(50 / step);
      const index = await openIndex(folder, { writable: true });
      await index.compact();
      await index.close();
      await check(folder, known);
    } finally {
      await rm(root, { recursive: true, force: true });
    }
  });
}

/** All that was told is there, save a removal that had `begun`, and every vector is its picture's. */
async function check(folder: string, known: Set<number>, begun?: number): Promise<void> {
  const index = await openIndex(folder);
  const seeds = [...index.items()].map((item) => item.size as number);
  const [head] = (await readFile(path.join(folder, 'vectors.npy'), 'latin1')).split('\n', 1);
  expect(head).toMatch(/'shape': \(\d+, 4\)/);
  for (const seed of seeds) {
    const [hit] = await index.search(Float32Array.of(Math.cos(seed), Math.sin(seed), 1, seed / 1000), { limit: 1 });
    expect(hit?.item.size).toBe(seed);
    expect(hit?.score).toBeCloseTo(1, 6);
  }
  // A change that was not told of may have come about: then whole.
  expect([0, 5]).toContain(seeds.filter((seed) => !known.has(seed)).length);
  expect([...known].filter((seed) => seed !== begun && !seeds.includes(seed))).toEqual([]);
  known.clear();
  for (const seed of seeds) known.add(seed);
  await index.close();
}
