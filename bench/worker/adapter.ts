/** The scenarios, written once over what every pool, port and worker can do: answer a call. Each contender is alone in its process. */
import type { Outcome, Scenario, Scenarios } from '../harness/scenario.js';

/** A worker on the other side: it answers a number with the number plus one, and an array with the same array. */
export interface Caller {
  increment(value: number): Promise<number>;
  /** Sends an array and gets it back, copied both ways. */
  copy?(array: Float32Array): Promise<Float32Array>;
  /** The same, moved both ways. */
  move?(array: Float32Array): Promise<Float32Array>;
}

const FLOATS = 150_000;

/** A model or task file of the benchmark. The bundles are in `bench/.build/worker/peers/`. */
export function modelUrl(name: string): URL {
  return new URL(`../../../worker/models/${name}`, import.meta.url);
}

/** The scenarios of a contender, and whether it takes arrays; it is opened with the first run and stays open. */
export function scenariosOf(open: () => Promise<Caller>, ...arrays: readonly ('copy' | 'move')[]): Scenarios {
  let opened: Promise<Caller> | undefined;
  const caller = (): Promise<Caller> => {
    opened ??= open();
    return opened;
  };
  const scenarios: Record<string, Scenario> = {};
  for (const clients of [1, 16, 64]) {
    scenarios[`rpc/${clients}`] = async (n) => runClients(await caller(), clients, n);
  }
  for (const how of arrays) {
    scenarios[how === 'copy' ? '600 KB/copied' : '600 KB/moved'] = async (n) => {
      const send = (await caller())[how];
      if (send === undefined) throw new Error(`it can not ${how}`);
      return roundTrips(send, n);
    };
  }
  return scenarios;
}

async function runClients(caller: Caller, clients: number, n: number): Promise<Outcome> {
  // The host is up before the clock starts.
  await caller.increment(0);
  let next = 0;
  let count = 0;
  let sum = 0;
  const start = performance.now();
  const client = async (): Promise<void> => {
    while (next < n) {
      const value = await caller.increment(next++);
      sum += value;
      count++;
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return { count, sum, ms: performance.now() - start };
}

async function roundTrips(send: (array: Float32Array) => Promise<Float32Array>, n: number): Promise<Outcome> {
  let array = await send(new Float32Array(FLOATS).fill(1));
  let count = 0;
  const start = performance.now();
  for (; count < n; count++) array = await send(array);
  const ms = performance.now() - start;
  if (array.length !== FLOATS || array[FLOATS - 1] !== 1) throw new Error('the array was changed on the way');
  return { count, ms };
}
