/** What the worlds of the models share. */
import fc from 'fast-check';

/** Gives each step as many places in a row as its weight says, so that a number may choose one. */
export function weighted<Step>(steps: readonly (readonly [weight: number, step: Step])[]): Step[] {
  return steps.flatMap(([weight, step]) => Array.from({ length: weight }, () => step));
}

/** An item of a list, which stays in it. */
export function pick<T>(list: readonly T[], which: number): T | undefined {
  return list[which % list.length];
}

/** Takes an item out of a list. */
export function take<T>(list: T[], which: number): T | undefined {
  return list.length === 0 ? undefined : list.splice(which % list.length, 1)[0];
}

export function check(holds: boolean, message: string): void {
  if (!holds) throw new Error(message);
}

/** A world in which commands run, and whose account is checked in the end. */
interface World {
  run(command: number): Promise<void>;
  settle(): Promise<void>;
}

/** Runs many sequences of commands, each in a world of its own. @returns How many commands ran. */
export async function runWorlds(runs: number, length: number, make: (capacity: number) => World): Promise<number> {
  let commands = 0;
  const capacities = fc.integer({ min: 1, max: 5 });
  const scripts = fc.array(fc.nat(2 ** 28), { minLength: length / 2, maxLength: length });
  const property = fc.asyncProperty(capacities, scripts, async (capacity, script) => {
    const world = make(capacity);
    for (const command of script) await world.run(command);
    commands += script.length;
    await world.settle();
  });
  await fc.assert(property, { numRuns: runs });
  return commands;
}
