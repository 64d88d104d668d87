/** The file descriptor of a child process on which it and its parent exchange messages. */
export const LINK_FD = 3;

/** The one on which its watchdog speaks to the parent, and learns that the parent is gone. */
export const WATCHDOG_FD = 4;
