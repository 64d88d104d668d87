/** Thrown where a test needs a part of Node that other runtimes lack: such a case is counted, and is no failure. */
export class NodeOnly extends Error {
  static readonly mark = 'needs Node:';

  constructor(what: string) {
    super(`${NodeOnly.mark} ${what}`);
  }
}
