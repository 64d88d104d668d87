/** A contender's process: makes the contender, then runs what it is told and says how that went. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Contender, Contenders, RunAnswer, RunOrder, Setup } from './contender.js';

const [moduleUrl, name, json] = process.argv.slice(2) as [string, string, string];
const setup = JSON.parse(json) as Setup;

async function start(): Promise<void> {
  const { contenders } = (await import(moduleUrl)) as { contenders: Contenders };
  const create = contenders[name];
  if (create === undefined) throw new Error(`There is no contender ${name}`);
  const contender = await create(setup);
  process.on('message', (message: RunOrder | 'close') => {
    if (message !== 'close') void answer(run(contender, message));
    else void close(contender);
  });
  process.send?.({ ready: true });
}

async function close(contender: Contender): Promise<void> {
  if (contender.close !== undefined) await contender.close();
  process.disconnect?.();
}

async function answer(running: Promise<RunAnswer>): Promise<void> {
  try {
    process.send?.(await running);
  } catch (error) {
    process.send?.({ error: error instanceof Error ? error.stack : String(error) });
  }
}

async function run(contender: Contender, order: RunOrder): Promise<RunAnswer> {
  const batch = order.batch ?? contender.batch;
  const latencies: number[] = [];
  let first: readonly number[] = [];
  const embed = async (from: number) => {
    const began = performance.now();
    const paths = order.paths.slice(from, from + batch);
    const vectors = await contender.embed(paths);
    latencies.push(performance.now() - began);
    if (vectors.length !== paths.length) throw new Error(`${paths.length} images gave ${vectors.length} vectors`);
    if (from === 0) first = [...(vectors[0] as Float32Array)];
  };
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const began = performance.now();
  if (order.rate === undefined) await closed(order.paths.length, order.lanes ?? contender.lanes, batch, embed);
  else await open(order.paths.length, order.rate, embed);
  const ms = performance.now() - began;
  delay.disable();
  return { ms, latencies, delayP99: delay.percentile(99) / 1e6, first };
}

/** So many lanes, each of which takes the next when it is done. */
async function closed(count: number, lanes: number, step: number, embed: (from: number) => Promise<void>) {
  let next = 0;
  const lane = async () => {
    while (next < count) {
      const from = next;
      next += step;
      await embed(from);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

/** Arrivals that wait for nobody. The times are the same in each run. */
async function open(count: number, rate: number, embed: (from: number) => Promise<void>) {
  let seed = 1;
  const pending: Promise<void>[] = [];
  for (let from = 0; from < count; from++) {
    seed = (Math.imul(seed, 48_271) >>> 0) % 2_147_483_647;
    const gapMs = (-Math.log(1 - seed / 2_147_483_647) / rate) * 1000;
    await new Promise((resolve) => setTimeout(resolve, gapMs));
    pending.push(embed(from));
  }
  await Promise.all(pending);
}

start().catch((error: unknown) => {
  process.send?.({ error: error instanceof Error ? error.stack : String(error) });
  process.exitCode = 1;
});
