/** Clients of a pool whose workers are signalled at random: who is answered, and with what. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import { createImageEmbeddingPool, type ImageEmbeddingPool } from '../../src/image-embedding/index.js';
import type { PoolStats } from '../../src/pool/index.js';
import { seeded } from '../seeded.js';
import { PHOTOS } from './cli-process.js';
import { listProcesses } from './processes.js';

/** What is done to the workers, and for how long. */
export interface AvailabilityPlan {
  readonly seed: number;
  readonly seconds: number;
  readonly signal: 'SIGKILL' | 'SIGSTOP';
  /** One worker is signalled each so often, in ms; and not more often than in so many times what the start of all workers took before, where given. */
  readonly everyMs: number;
  readonly everyStarts?: number;
  readonly workers: number;
  readonly clients: number;
}

/** How it went. */
export interface AvailabilityReport {
  /** Calls with good input and the default deadline: how many were made, and how many were answered with an embedding. */
  readonly good: number;
  readonly answered: number;
  /** How often which code came, of the good calls and of all others; `uncoded` for a failure without one. */
  readonly goodFailures: Readonly<Record<string, number>>;
  readonly otherOutcomes: Readonly<Record<string, number>>;
  readonly slowestMs: number;
  /** What the start of all workers took, and how often one was signalled. */
  readonly startMs: number;
  readonly everyMs: number;
  readonly signals: number;
  readonly stats: PoolStats;
  /** Processes of workers that are left once the pool is closed. */
  readonly left: number;
}

const KINDS = ['bad', 'aborted', 'short'] as const;
/** The share of the calls that are each of these. */
const SHARE = 0.05;

/** Runs the clients against the signals. */
export async function runAvailability(plan: AvailabilityPlan): Promise<AvailabilityReport> {
  const folder = await mkdtemp(path.join(tmpdir(), 'millrace-availability-'));
  try {
    return await run(plan, folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function run(plan: AvailabilityPlan, folder: string): Promise<AvailabilityReport> {
  const random = seeded(plan.seed);
  const names = (await readdir(PHOTOS)).filter((name) => name.endsWith('.jpg'));
  const photos = await Promise.all(names.map((name) => readFile(path.join(PHOTOS, name))));
  await writeFile(path.join(folder, 'damaged.jpg'), (photos[0] as Buffer).subarray(0, 2_000));
  const pool = createImageEmbeddingPool({ workers: plan.workers });
  const starting = performance.now();
  await pool.embedImageBytes(photos[0] as Buffer, { timeoutMs: 120_000 });
  while (pool.health().models.default?.workers.ready !== plan.workers) await delay(10);
  const startMs = performance.now() - starting;
  const everyMs = Math.max(plan.everyMs, startMs * (plan.everyStarts ?? 0));
  const end = performance.now() + 1_000 * plan.seconds;

  let good = 0;
  let answered = 0;
  let slowestMs = 0;
  let made = 0;
  const goodFailures: Record<string, number> = {};
  const otherOutcomes: Record<string, number> = {};
  const call = async (): Promise<void> => {
    made += 1;
    // What follows the end of a JPEG makes it another picture to whoever compares bytes, and none to a decoder.
    const bytes = Buffer.concat([photos[made % photos.length] as Buffer, Buffer.from(`${made}`)]);
    const kind = random() < SHARE * KINDS.length ? KINDS[Math.floor(random() * KINDS.length)] : 'good';
    const begun = performance.now();
    const outcome = await embed(pool, { kind, bytes, folder, random, made }).then(
      () => 'answered',
      (error: { code?: unknown; name?: unknown }) =>
        typeof error.code === 'string' ? error.code : error.name === 'TimeoutError' ? 'aborted' : 'uncoded',
    );
    if (kind !== 'good') {
      const key = `${kind}: ${outcome}`;
      otherOutcomes[key] = (otherOutcomes[key] ?? 0) + 1;
      return;
    }
    good += 1;
    slowestMs = Math.max(slowestMs, performance.now() - begun);
    if (outcome === 'answered') answered += 1;
    else goodFailures[outcome] = (goodFailures[outcome] ?? 0) + 1;
  };
  const client = async (): Promise<void> => {
    while (performance.now() < end) await call();
  };

  let signals = 0;
  const stop = new AbortController();
  const strikes = (async () => {
    for (let due = performance.now() + everyMs; !stop.signal.aborted; due += everyMs) {
      await delay(due - performance.now(), undefined, { signal: stop.signal }).catch(() => {});
      const pids = await workerPids();
      const victim = pids[Math.floor(random() * pids.length)];
      if (victim === undefined || stop.signal.aborted) continue;
      try {
        process.kill(victim, plan.signal);
        signals += 1;
      } catch {
        // It was faster.
      }
    }
  })();
  await Promise.all(Array.from({ length: plan.clients }, client));
  stop.abort();
  await strikes;
  const stats = pool.stats();
  await pool.close();
  const until = performance.now() + 15_000;
  while ((await workerPids()).length > 0 && performance.now() < until) await delay(50);
  return {
    good,
    answered,
    goodFailures,
    otherOutcomes,
    slowestMs,
    startMs,
    everyMs,
    signals,
    stats,
    left: (await workerPids()).length,
  };
}

interface Request {
  readonly kind: 'good' | (typeof KINDS)[number] | undefined;
  readonly bytes: Buffer;
  readonly folder: string;
  readonly random: () => number;
  readonly made: number;
}

async function embed(pool: ImageEmbeddingPool, { kind, bytes, folder, random, made }: Request): Promise<unknown> {
  if (kind === 'bad') {
    const ways = [
      () => pool.embedImageBase64(''),
      () => pool.embedImage(path.join(folder, 'nothing.jpg')),
      () => pool.embedImage(path.join(folder, 'damaged.jpg')),
      () => pool.embedImageBytes(Buffer.from(`no image ${made}`)),
    ];
    return (ways[Math.floor(random() * ways.length)] as () => Promise<unknown>)();
  }
  const signal = kind === 'aborted' ? AbortSignal.timeout(Math.floor(1 + random() * 200)) : undefined;
  const options = { ...(signal && { signal }), ...(kind === 'short' && { timeoutMs: 1 + random() * 50 }) };
  const way = random();
  if (way < 0.4) return pool.embedImageBytes(bytes, options);
  if (way < 0.6) return pool.embedImageBase64(bytes.toString('base64'), options);
  const file = path.join(folder, `${made}.jpg`);
  await writeFile(file, bytes);
  try {
    return await pool.embedImage(file, options);
  } finally {
    await rm(file, { force: true });
  }
}

/** The processes of this one's workers. Asked many times a second: of all processes of a busy machine that would take too long. */
async function workerPids(): Promise<number[]> {
  const listed = await readFile(`/proc/${process.pid}/task/${process.pid}/children`, 'utf8').catch(() => undefined);
  const rows = listed === undefined ? await listProcesses() : undefined;
  const pids =
    rows?.filter(({ parent }) => parent === process.pid).map(({ pid }) => pid) ??
    listed?.split(' ').filter(Boolean).map(Number) ??
    [];
  const workers = await Promise.all(
    pids.map(async (pid) => ((await commandOf(pid)).includes('process-child') ? pid : 0)),
  );
  return workers.filter((pid) => pid > 0);
}

/** Nothing for one that has ended and waits for its parent to notice. */
async function commandOf(pid: number): Promise<string> {
  return await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
}

/** What holds whatever was done to the workers: nearly every good call was answered, the rest have codes, and nothing is lost or left. */
export function requireAvailable(report: AvailabilityReport): void {
  const { good, answered, goodFailures, otherOutcomes, stats } = report;
  expect(answered / good, JSON.stringify(report)).toBeGreaterThanOrEqual(0.99);
  for (const outcome of [...Object.keys(goodFailures), ...Object.keys(otherOutcomes)]) {
    expect(outcome).toMatch(/^((bad|aborted|short): )?(ERR_[A-Z0-9_]+|answered|aborted)$/);
  }
  const { accepted, succeeded, failed, expired, cancelled, pending, refused, models } = stats;
  expect([pending, succeeded + failed + expired + cancelled]).toEqual([0, accepted]);
  // What the door of the facade turned away never came to the pool.
  const made = good + Object.values(otherOutcomes).reduce((sum, count) => sum + count, 0);
  expect(accepted + refused).toBeLessThanOrEqual(made + 1);
  expect(models.default?.breakerRejections).toBe(0);
  expect(models.default?.crashes).toBeGreaterThan(0);
  expect(report.left).toBe(0);
}
