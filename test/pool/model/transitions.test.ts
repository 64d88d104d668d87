/** The states of jobs and of workers in a pool: each step of the tables can be taken, and no other. */
import { expect, test } from 'vitest';
import { SimulatedClock } from '../../../src/core/index.js';
import { Job, type JobPhase, jobTransitions } from '../../../src/pool/model/job.js';
import { type SlotState, slotTransitions, WorkerSlot } from '../../../src/pool/model/workers.js';

const phases = Object.keys(jobTransitions) as JobPhase[];
const states = Object.keys(slotTransitions) as SlotState[];
const pairs = <T>(all: readonly T[]) => all.flatMap((from) => all.map((to) => [from, to] as const));

/** The steps from the first state to another. */
function pathTo<T extends string>(table: Readonly<Record<T, readonly T[]>>, first: T, wanted: T): T[] {
  const paths: T[][] = [[first]];
  for (const path of paths) {
    const last = path.at(-1) as T;
    if (last === wanted) return path.slice(1);
    for (const next of table[last]) if (!path.includes(next)) paths.push([...path, next]);
  }
  throw new Error(`${wanted} cannot be reached`);
}

test.each(pairs(phases))('a job that is %s can be %s where the table says so', (from, to) => {
  const job = new Job({} as never, { shared: new Map() } as never, 'normal', 0, undefined);
  for (const phase of pathTo(jobTransitions, 'waiting', from)) job.become(phase);
  if (jobTransitions[from].includes(to)) {
    job.become(to);
    expect(job.phase).toBe(to);
  } else {
    expect(() => job.become(to)).toThrow(`A job cannot be ${to} after ${from}`);
    expect(job.phase).toBe(from);
  }
});

test.each(pairs(states))('a worker that is %s can be %s where the table says so', (from, to) => {
  const settings = { window: 1, reserve: 0, maxParked: 0 } as never;
  const slot = new WorkerSlot({ id: 'w' } as never, {} as never, settings, new SimulatedClock());
  for (const state of pathTo(slotTransitions, 'starting', from)) slot.become(state);
  if (slotTransitions[from].includes(to)) {
    slot.become(to);
    expect(slot.state).toBe(to);
  } else expect(() => slot.become(to)).toThrow(`A worker cannot be ${to} after ${from}`);
});
