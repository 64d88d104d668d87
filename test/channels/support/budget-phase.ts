import { mpsc } from '../../../src/channels/index.js';
import { drained } from '../../support/settlement.js';

/** The waits of one trial at most: phases beyond it are alike. */
export const PHASES = 32;

/** As many units the budget has between two pauses. */
const UNITS = 1_024;

const [closed] = mpsc.channel<never>(1);
closed.close();
// A wait that is over at once spends one unit, and gives the same promise unless there is a pause.
const done = closed.closed();

/** Puts the budget so that its next pause begins with the wait that is `phase` waits away. */
export async function enterPhase(phase: number): Promise<void> {
  while (closed.closed() === done);
  await drained();
  for (let spent = 0; spent < UNITS - 1 - phase; spent++) void closed.closed();
}
