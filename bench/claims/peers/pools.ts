/** Pools of workers. p-queue is no such pool, but what many use in place of one: it runs functions in the caller's own event loop. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
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

type Sleep = (ms: number) => Promise<unknown>;

/** With one call running and one waiting where there is room for one: what becomes of the third. */
async function third(sleep: Sleep, next: Sleep = sleep): Promise<string> {
  await sleep(1);
  const before = [sleep(300), sleep(1)];
  for (const each of before) each.catch(() => {});
  await pause(20);
  const state = await settledWithin(
    100,
    Promise.resolve().then(() => next(1)),
  );
  await Promise.allSettled(before);
  return state === 'rejected' ? 'refuses' : 'waits';
}

/** The call behind one of 600 ms has 100 ms: whether it is told so in time. */
async function inTime(sleep: Sleep, sleepFor100: Sleep = sleep): Promise<string> {
  await sleep(1);
  const first = sleep(600);
  first.catch(() => {});
  const state = await settledWithin(350, sleepFor100(1));
  await first.catch(() => {});
  return yesNo(state === 'rejected');
}

async function withMarker(act: (marker: string) => Promise<unknown>, rejected = 'rejected'): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'millrace-claims-'));
  try {
    const answer = act(path.join(folder, 'marker'));
    answer.catch(() => {});
    const state = await settledWithin(10_000, answer);
    return state === 'fulfilled' ? 'run again' : state === 'rejected' ? rejected : 'never answers';
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Adds `dieOnce` to a p-queue in a process of its own; rejects when that ends without an answer. */
async function runQueue(marker: string): Promise<void> {
  const child = spawn(process.execPath, [fileURLToPath(task('queue.mjs')), marker], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (data: Buffer) => {
    output += data.toString();
  });
  await once(child, 'close');
  if (output === '') throw new Error(`the process ended with ${child.exitCode}, and said nothing of the call`);
}

/** Whether a worker that computes is gone two seconds after its parent was killed; of one that is no process, where it is. */
async function orphan(contender: string): Promise<string> {
  const child = spawn(process.execPath, [fileURLToPath(task('orphan.mjs')), contender], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const where = await new Promise<Where>((resolve, reject) => {
    child.stdout.on('data', (data: Buffer) => resolve(JSON.parse(data.toString()) as Where));
    child.on('exit', () => reject(new Error(`${contender} ended by itself`)));
  });
  if (where.pid === child.pid) {
    child.kill('SIGKILL');
    return where.isThread ? 'threads' : 'own loop';
  }
  await pause(500);
  child.kill('SIGKILL');
  await pause(2_000);
  try {
    process.kill(where.pid, 'SIGKILL');
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
    question: 'a call that finds the queue full',
    answers: {
      millrace: () =>
        millrace('thread', async (model) => {
          const sleep: Sleep = (ms) => model.call('sleep', ms);
          const waits = await third(sleep);
          const refuses = await third(sleep, (ms) => model.tryCall('sleep', ms));
          return waits === refuses ? waits : `${waits}, or ${refuses}`;
        }),
      piscina: () => piscina((pool) => third((ms) => pool.run(ms, { name: 'sleep' })), { maxQueue: 1 }),
      tinypool: () => tinypool((pool) => third((ms) => pool.run(ms, { name: 'sleep' })), { maxQueue: 1 }),
      workerpool: () => workerPool((pool) => third(async (ms) => await pool.exec('sleep', [ms])), { maxQueueSize: 1 }),
      // It takes no option for one: a hundred thousand wait behind the one that runs.
      'p-queue': async () => {
        const queue = new PQueue({ concurrency: 1 });
        const all = Array.from({ length: 100_001 }, () => queue.add(() => pause(0)).catch(() => 'refused'));
        const hasBound = queue.size < 100_000;
        queue.clear();
        await all[0];
        return hasBound ? 'has a bound' : 'has no bound';
      },
    },
  },
  {
    question: 'a deadline counts the wait in the queue',
    answers: {
      millrace: () =>
        millrace('thread', (model) =>
          inTime(
            (ms) => model.call('sleep', ms),
            (ms) => model.call('sleep', ms, { timeoutMs: 100 }),
          ),
        ),
      piscina: () =>
        piscina((pool) =>
          inTime(
            (ms) => pool.run(ms, { name: 'sleep' }),
            (ms) => pool.run(ms, { name: 'sleep', signal: AbortSignal.timeout(100) }),
          ),
        ),
      tinypool: () =>
        tinypool((pool) =>
          inTime(
            (ms) => pool.run(ms, { name: 'sleep' }),
            (ms) => pool.run(ms, { name: 'sleep', signal: AbortSignal.timeout(100) }),
          ),
        ),
      workerpool: () =>
        workerPool((pool) =>
          inTime(
            async (ms) => await pool.exec('sleep', [ms]),
            async (ms) => await pool.exec('sleep', [ms]).timeout(100),
          ),
        ),
      'p-queue': async () => {
        const queue = new PQueue({ concurrency: 1 });
        return inTime(
          (ms) => queue.add(() => pause(ms)),
          (ms) => queue.add(() => pause(ms), { timeout: 100 }),
        );
      },
    },
  },
  {
    question: 'an abort ends a function that ignores its signal',
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
      // In the caller's own loop: the function has to leave that alone, or nothing could abort it at all.
      'p-queue': async () => {
        const queue = new PQueue({ concurrency: 1 });
        const controller = new AbortController();
        let hasEnded = false;
        const task = async () => {
          await pause(300);
          hasEnded = true;
        };
        queue.add(task, { signal: controller.signal }).catch(() => {});
        await pause(50);
        controller.abort();
        await pause(500);
        return yesNo(!hasEnded);
      },
    },
  },
  {
    question: 'a worker dies: its call is',
    answers: {
      millrace: () => millrace('process', (model) => withMarker((marker) => model.call('dieOnce', marker))),
      piscina: () => piscina((pool) => withMarker((marker) => pool.run(marker, { name: 'dieOnce' }))),
      tinypool: () =>
        tinypool((pool) => withMarker((marker) => pool.run(marker, { name: 'dieOnce' })), { runtime: 'child_process' }),
      workerpool: () =>
        workerPool((pool) => withMarker(async (marker) => await pool.exec('dieOnce', [marker])), {
          workerType: 'process',
        }),
      // Its worker is the process that calls it, so here one of its own.
      'p-queue': () => withMarker(runQueue, 'lost with the process'),
    },
  },
  {
    question: 'a call can return a stream',
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
    question: 'busy workers end with a parent that is killed',
    answers: {
      millrace: () => orphan('millrace'),
      piscina: () => orphan('piscina'),
      tinypool: () => orphan('tinypool'),
      workerpool: () => orphan('workerpool'),
      'p-queue': () => orphan('p-queue'),
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
