/**
 * What a look at an arm answers, and one at all arms. In a file without imports: from such a one, bundlers put the numbers where they are used.
 */

/** Nothing yet. */
export const PENDING = 0;
/** A value was taken and lies in the slot. */
export const READY = 1;
/** Nothing will ever come. */
export const ENDED = 2;
/** It failed; the reason lies in the slot. */
export const FAILED = 3;

/** What a look at a source answers. */
export type Poll = typeof PENDING | typeof READY | typeof ENDED | typeof FAILED;

// What a look at all arms answers, when none has won.

/** It must wait. */
export const MUST_WAIT = -1;
/** An arm has failed. */
export const HAS_FAILED = -2;
/** No arm can win any more. */
export const HAS_ENDED = -3;
