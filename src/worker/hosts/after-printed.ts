import { Writable } from 'node:stream';

/**
 * Calls back once what this process or thread has printed has left it: `process.exit` waits for no pipe. By the streams' common `write`, because a
 * model that wants silence may have put another one in its place, which never calls back.
 */
export function afterPrinted(callback: () => void): void {
  const { write } = Writable.prototype;
  write.call(process.stdout, '', 'utf8', () => void write.call(process.stderr, '', 'utf8', () => callback()));
}
