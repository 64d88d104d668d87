/** Pools of workers. p-queue is no such pool, but what many use in place of one: it runs functions in the caller's own event loop. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import PQueue from 'p-queue';
import { Piscina } from 'piscina';
import { Tinypool } from 'tinypool';
import workerpool from 'workerpool';
import { createPool } from '../../../dist/pool/index.js';
import { operation } from '../../../dist/worker/index.js';
// @ts-expect-error: plain JavaScript, as the workers load it
import { count } from './tasks/tasks.mjs';
import { type Claim, pause, settledWithin, yesNo } from '../claim.js';

const task = (name: string): URL => new URL(`./tasks/${name}`, import.meta.url);
interface Where {
  readonly pid: number;
  readonly isThread: boolean;
}

const operations = {
  where: operation<null, Where>(),
  sleep: operation<number, number>({ capacity: 1 }),
  spin: operation<number, number>(),
  dieOnce: operation<string, string>({ idempotent: true }),
  count: operation.stream<number, number>(),
};
function openMillrace(host: 'thread' | 'process', pool: ReturnType<typeof createPool>) {
  const module = task('millrace-model.mjs');
  return pool.register('tasks', { operations, module, host, maxWorkers: 1, stdio: 'ignore' });
}

/** One worker of each, opened for one question and closed after it. */
async function millrace<T>(
  host: 'thread' | 'process',
  act: (model: ReturnType<typeof openMillrace>) => Promise<T>,
): Promise<T> {
  const pool = createPool();
  try {
    return await act(openMillrace(host, pool));
  } finally {
    await pool.destroy();
  }
}

async function piscina<T>(act: (pool: Piscina) => Promise<T>, options: object = {}): Promise<T> {
  const pool = new Piscina({ filename: task('tasks.mjs').href, minThreads: 1, maxThreads: 1, ...options });
  pool.on('error', () => {});
  try {
    return await act(pool);
  } finally {
    await pool.destroy();
  }
}

async function tinypool<T>(act: (pool: Tinypool) => Promise<T>, options: object = {}): Promise<T> {
  const pool = new Tinypool({ filename: task('tasks.mjs').href, minThreads: 1, maxThreads: 1, ...options });
  pool.on('error', () => {});
  try {
    return await act(pool);
  } finally {
    await pool.destroy();
  }
}

type WorkerPool = ReturnType<typeof workerpool.pool>;
async function workerPool<T>(act: (pool: WorkerPool) => Promise<T>, options: object = {}): Promise<T> {
  const pool = workerpool.pool(fileURLToPath(task('workerpool-tasks.mjs')), { maxWorkers: 1, ...options });
  try {
    return await act(pool);
  } finally {
    await pool.terminate(true);
  }
}

const place = ({ pid, isThread }: Where): string =>
  isThread ? 'threads' : pid === process.pid ? 'own loop' : 'processes';

/** With one call running and one waiting where there is room for one: what becomes of the third. */
async function third(
  first: Promise<unknown>,
  second: () => Promise<unknown>,
  next: () => Promise<unknown>,
): Promise<string> {
  const before = [first, second()];
  for (const each of before) each.catch(() => {});
  await pause(20);
  const state = await settledWithin(100, Promise.resolve().then(next));
  await Promise.allSettled(before);
  return state === 'rejected' ? 'refuses' : 'waits';
}

/** The call behind one of 600 ms has 100 ms: whether it is told so in time. */
async function inTime(first: Promise<unknown>, second: Promise<unknown>): Promise<string> {
  first.catch(() => {});
  const state = await settledWithin(350, second);
  await first.catch(() => {});
  return yesNo(state === 'rejected');
}

async function withMarker(act: (marker: string) => Promise<unknown>): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'millrace-claims-'));
  try {
    const answer = act(path.join(folder, 'marker'));
    answer.catch(() => {});
    const state = await settledWithin(10_000, answer);
    return state === 'fulfilled' ? 'runs it again' : state === 'rejected' ? 'rejects it' : 'never answers';
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Whether a worker that computes is gone two seconds after its parent was killed. */
async function orphan(contender: string): Promise<string> {
  const child = spawn(process.execPath, [fileURLToPath(task('orphan.mjs')), contender], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const pid = await new Promise<number>((resolve, reject) => {
    child.stdout.on('data', (data: Buffer) => resolve(Number(data.toString())));
    child.on('exit', () => reject(new Error(`${contender} ended by itself`)));
  });
  await pause(500);
  child.kill('SIGKILL');
  await pause(2_000);
  try {
    process.kill(pid, 'SIGKILL');
    return 'no';
  } catch {
    return 'yes';
  }
}

export const claims: readonly Claim[] = [
  {
    question: 'a call runs in',
    answers: {
      millrace: async () => {
        const places = [];
        for (const host of ['thread', 'process'] as const) {
          places.push(await millrace(host, async (model) => place(await model.call('where', null))));
        }
        return places.join(', ');
      },
      piscina: () => piscina(async (pool) => place(await pool.run(null, { name: 'where' }))),
      tinypool: async () => {
        const places = [];
        for (const runtime of ['worker_threads', 'child_process']) {
          places.push(await tinypool(async (pool) => place(await pool.run(null, { name: 'where' })), { runtime }));
        }
        return places.join(', ');
      },
      workerpool: async () => {
        const places = [];
        for (const workerType of ['thread', 'process']) {
          places.push(await workerPool(async (pool) => place((await pool.exec('where', [])) as Where), { workerType }));
        }
        return places.join(', ');
      },
      'p-queue': async () =>
        place((await new PQueue().add(async () => ({ pid: process.pid, isThread: false }))) as Where),
    },
  },
  {
    question: 'a call finds the queue full: it',
    answers: {
      millrace: () =>
        millrace('thread', async (model) => {
          await model.call('where', null);
          const waits = await third(
            model.call('sleep', 300),
            () => model.call('sleep', 1),
            () => model.call('sleep', 1),
          );
          const refuses = await third(
            model.call('sleep', 300),
            () => model.call('sleep', 1),
            () => model.tryCall('sleep', 1),
          );
          return waits === refuses ? waits : `${waits}, or ${refuses}`;
        }),
      piscina: () =>
        piscina(
          async (pool) => {
            const sleep = (ms: number) => pool.run(ms, { name: 'sleep' });
            await sleep(1);
            return third(
              sleep(300),
              () => sleep(1),
              () => sleep(1),
            );
          },
          { maxQueue: 1 },
        ),
      tinypool: () =>
        tinypool(
          async (pool) => {
            const sleep = (ms: number) => pool.run(ms, { name: 'sleep' });
            await sleep(1);
            return third(
              sleep(300),
              () => sleep(1),
              () => sleep(1),
            );
          },
          { maxQueue: 1 },
        ),
      workerpool: () =>
        workerPool(
          async (pool) => {
            const sleep = async (ms: number) => await pool.exec('sleep', [ms]);
            await sleep(1);
            return third(
              sleep(300),
              () => sleep(1),
              () => sleep(1),
            );
          },
          { maxQueueSize: 1 },
        ),
      // It has no bound to be full.
      'p-queue': async () => 'has no bound',
    },
  },
  {
    question: 'a deadline counts the wait in the queue',
    answers: {
      millrace: () =>
        millrace('thread', async (model) => {
          await model.call('where', null);
          return inTime(model.call('sleep', 600), model.call('sleep', 1, { timeoutMs: 100 }));
        }),
      piscina: () =>
        piscina(async (pool) => {
          await pool.run(1, { name: 'sleep' });
          const first = pool.run(600, { name: 'sleep' });
          return inTime(first, pool.run(1, { name: 'sleep', signal: AbortSignal.timeout(100) }));
        }),
      tinypool: () =>
        tinypool(async (pool) => {
          await pool.run(1, { name: 'sleep' });
          const first = pool.run(600, { name: 'sleep' });
          return inTime(first, pool.run(1, { name: 'sleep', signal: AbortSignal.timeout(100) }));
        }),
      workerpool: () =>
        workerPool(async (pool) => {
          await pool.exec('sleep', [1]);
          const first = (async () => await pool.exec('sleep', [600]))();
          return inTime(first, (async () => await pool.exec('sleep', [1]).timeout(100))());
        }),
      'p-queue': async () => {
        const queue = new PQueue({ concurrency: 1 });
        const first = queue.add(() => pause(600));
        return inTime(
          first,
          queue.add(() => pause(1), { timeout: 100 }),
        );
      },
    },
  },
  {
    question: 'an abort ends a function that looks at nothing',
    answers: {
      millrace: () =>
        millrace('thread', async (model) => {
          await model.call('where', null);
          const controller = new AbortController();
          model.call('spin', 6_000, { signal: controller.signal }).catch(() => {});
          await pause(100);
          controller.abort();
          return yesNo((await settledWithin(4_000, model.call('where', null))) === 'fulfilled');
        }),
      piscina: () =>
        piscina((pool) => abortsSpin((name, input, signal) => pool.run(input, { name, signal: signal ?? null }))),
      tinypool: () =>
        tinypool((pool) => abortsSpin((name, input, signal) => pool.run(input, { name, signal: signal ?? null }))),
      workerpool: () =>
        workerPool((pool) =>
          abortsSpin(async (name, input, signal) => {
            const promise = pool.exec(name, [input]);
            const answer = (async () => await promise)();
            answer.catch(() => {});
            signal?.addEventListener('abort', () => {
              try {
                promise.cancel();
              } catch {
                // It throws what it rejects with.
              }
            });
            return await answer;
          }),
        ),
      'p-queue': async () => 'no',
    },
  },
  {
    question: 'a worker dies: the call that it held',
    answers: {
      millrace: () => millrace('process', (model) => withMarker((marker) => model.call('dieOnce', marker))),
      piscina: () => piscina((pool) => withMarker((marker) => pool.run(marker, { name: 'dieOnce' }))),
      tinypool: () =>
        tinypool((pool) => withMarker((marker) => pool.run(marker, { name: 'dieOnce' })), { runtime: 'child_process' }),
      workerpool: () =>
        workerPool((pool) => withMarker(async (marker) => await pool.exec('dieOnce', [marker])), {
          workerType: 'process',
        }),
      'p-queue': async () => 'is gone with the process',
    },
  },
  {
    question: 'a call can answer with a stream',
    answers: {
      millrace: () =>
        millrace('thread', async (model) => {
          const chunks: number[] = [];
          for await (const chunk of model.call('count', 3)) chunks.push(chunk);
          return yesNo(chunks.join() === '1,2,3');
        }),
      piscina: () => piscina((pool) => streams(() => pool.run(3, { name: 'count' }))),
      tinypool: () => tinypool((pool) => streams(() => pool.run(3, { name: 'count' }))),
      workerpool: () => workerPool((pool) => streams(async () => await pool.exec('count', [3]))),
      // What its function answers with is handed on: there is no border to cross.
      'p-queue': () => streams(() => new PQueue().add(async () => count(3))),
    },
  },
  {
    question: 'workers that compute end with a parent that is killed',
    answers: {
      millrace: () => orphan('millrace'),
      piscina: async () => 'threads',
      tinypool: () => orphan('tinypool'),
      workerpool: () => orphan('workerpool'),
      'p-queue': async () => 'own loop',
    },
  },
];

async function abortsSpin(
  run: (name: string, input: unknown, signal?: AbortSignal) => Promise<unknown>,
): Promise<string> {
  await run('where', null);
  const controller = new AbortController();
  run('spin', 6_000, controller.signal).catch(() => {});
  await pause(100);
  controller.abort();
  return yesNo((await settledWithin(4_000, run('where', null))) === 'fulfilled');
}

async function streams(call: () => Promise<unknown>): Promise<string> {
  const answer = await call().catch(() => undefined);
  return yesNo(typeof (answer as AsyncIterable<number> | undefined)?.[Symbol.asyncIterator] === 'function');
}
