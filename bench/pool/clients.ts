import type { Outcome } from '../harness/scenario.js';

/** Makes `n` calls from `clients` loops that each wait for their answer before the next call. */
export async function callAll(
  n: number,
  clients: number,
  call: (value: number) => Promise<number>,
  close?: () => Promise<unknown>,
): Promise<Outcome> {
  let next = 0;
  let count = 0;
  let sum = 0;
  const client = async (): Promise<void> => {
    while (next < n) {
      // In two steps: `sum += await …` reads the sum before it waits.
      const value = await call(next++);
      sum += value;
      count += 1;
    }
  };
  const start = performance.now();
  await Promise.all(Array.from({ length: clients }, client));
  const ms = performance.now() - start;
  await close?.();
  return { count, sum, ms };
}
