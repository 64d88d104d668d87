/**
 * How much may settle before a macrotask gets its turn; see `budget.ts`. In a file without imports: from such a one, bundlers put the numbers where
 * they are used.
 */

/** Waits between two macrotasks. */
export const UNITS = 1024;
/** Milliseconds between two macrotasks. */
export const MAX_BURST_MS = 8;
/** The clock is read when these bits of the number of units that are left are all 0. */
export const CLOCK_MASK = 31;
