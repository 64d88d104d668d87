/**
 * The numbers of a channel that gathers; see `chan.ts`. In a file without imports: from such a one, bundlers put them where they are used.
 */

/** As many values are served without looking for more. */
export const GATHERED = 32;
/** How many single values are handed over at once before the channel looks again whether it carries a stream. */
export const HAND_OVERS = 8;

/** What the channel does with the values for those who wait. */
export const IDLE = 0;
export const GATHERING = 1;
export const SERVING = 2;

/** How many values there were at the last look, when nobody looks. */
export const UNWATCHED = -1;
