/** The file descriptor of a child process on which its parent's messages come. */
export const INPUT_FD = 3;

/** The one on which its messages go to the parent. */
export const OUTPUT_FD = 4;

/** The one on which its watchdog speaks to the parent, and learns that the parent is gone. */
export const WATCHDOG_FD = 5;
