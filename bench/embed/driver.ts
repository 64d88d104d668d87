/** The processes of one contender, driven from outside. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { RunAnswer, RunOrder, Setup } from './contender.js';
import { machineCpuMs, treeCpuMs, treeMemory, type TreeMemory } from './process-tree.js';

/** Which contender, and how many processes of it run at once. */
export interface Entry {
  readonly name: string;
  /** The URL of its module, and its name in there. */
  readonly module: string;
  readonly create: string;
  readonly copies: number;
  /** Flags of its processes; none by default. */
  readonly execArgv?: readonly string[] | undefined;
}

/** What came of a run. */
export interface Measured {
  readonly imagesPerSecond: number;
  /** Of the whole tree of processes. */
  readonly cpuMsPerImage: number;
  readonly latencies: readonly number[];
  readonly delayP99: number;
  readonly first: readonly number[];
  /** How many of the machine's cores other work used meanwhile. */
  readonly otherCores: number;
}

const MEMORY_EVERY_MS = 250;

/** A contender that is ready. */
export class Driver {
  readonly entry: Entry;
  /** From the start of its process until it was ready, in ms. */
  readonly startMs: number;
  readonly #children: readonly ChildProcess[];

  private constructor(entry: Entry, children: readonly ChildProcess[], startMs: number) {
    this.entry = entry;
    this.#children = children;
    this.startMs = startMs;
  }

  /** Starts the processes. */
  static async start(childUrl: string, entry: Entry, setup: Setup): Promise<Driver> {
    const began = performance.now();
    const args = [entry.module, entry.create, JSON.stringify(setup)];
    // A loader's options of this process are not the contender's.
    const execArgv = [...(entry.execArgv ?? [])];
    const children = Array.from({ length: entry.copies }, () => fork(fileURLToPath(childUrl), args, { execArgv }));
    await Promise.all(children.map((child) => messageOf(child, entry.name)));
    return new Driver(entry, children, performance.now() - began);
  }

  /** Runs an order, divided among the processes. */
  async run(order: RunOrder): Promise<Measured> {
    const pids = this.#pids();
    const before = await treeCpuMs(pids);
    const machine = await machineCpuMs();
    const began = performance.now();
    const answers = (await Promise.all(
      this.#children.map((child, index) => {
        const answer = messageOf(child, this.entry.name);
        child.send({ ...order, paths: order.paths.filter((_, at) => at % this.#children.length === index) });
        return answer;
      }),
    )) as RunAnswer[];
    const elapsed = performance.now() - began;
    const cpuMs = (await treeCpuMs(pids)) - before;
    const others = (await machineCpuMs()) - machine - cpuMs;
    return {
      imagesPerSecond: (1000 * order.paths.length) / Math.max(...answers.map(({ ms }) => ms)),
      cpuMsPerImage: cpuMs / order.paths.length,
      latencies: answers.flatMap(({ latencies }) => latencies),
      delayP99: Math.max(...answers.map(({ delayP99 }) => delayP99)),
      first: answers[0]?.first ?? [],
      otherCores: Math.max(0, others / elapsed),
    };
  }

  /** Runs an order and watches the memory meanwhile: the most there was. Looking costs time, so that such a run is no measurement of speed. */
  async watch(order: RunOrder): Promise<TreeMemory> {
    const pids = this.#pids();
    let most: TreeMemory = { pssMb: 0, privateMb: [] };
    const look = async () => {
      const now = await treeMemory(pids);
      if (now.pssMb > most.pssMb) most = now;
    };
    let isDone = false;
    const running = this.run(order).finally(() => {
      isDone = true;
    });
    while (!isDone) {
      await Promise.race([running, new Promise((resolve) => setTimeout(resolve, MEMORY_EVERY_MS))]);
      await look();
    }
    await running;
    return most;
  }

  /** Ends the processes. */
  async close(): Promise<void> {
    await Promise.all(
      this.#children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const ended = once(child, 'exit');
        const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
        if (child.connected) child.send('close');
        await ended;
        clearTimeout(timer);
      }),
    );
  }

  #pids(): number[] {
    return this.#children.map(({ pid }) => pid as number);
  }
}

function messageOf(child: ChildProcess, name: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onMessage = (message: { error?: string }) => {
      child.off('exit', onExit);
      if (message.error === undefined) resolve(message);
      else reject(new Error(`${name}: ${message.error}`));
    };
    const onExit = (code: number | null, signal: string | null) => {
      child.off('message', onMessage);
      reject(new Error(`${name}: its process ended with ${signal ?? code}`));
    };
    child.once('message', onMessage);
    child.once('exit', onExit);
  });
}
