import fc from 'fast-check';
import { World } from './channel-world.js';

/** Runs many sequences of commands, each against a channel of its own. @returns How many commands ran. */
export async function runModel(runs: number, length: number): Promise<number> {
  let commands = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 5 }),
      fc.array(fc.nat(2 ** 24), { minLength: length / 2, maxLength: length }),
      async (capacity, script) => {
        const world = new World({ capacity });
        for (const command of script) await world.run(command);
        commands += script.length;
        await world.settle();
      },
    ),
    { numRuns: runs },
  );
  return commands;
}
