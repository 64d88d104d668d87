import { Writable } from 'node:stream';

/**
 * Calls back once what this process or thread has printed has left it: `process.exit` waits for no pipe. By the streams' common `write`, because a
 * model may have replaced it to be silent, by one that never calls back. A closed stream is not waited for.
 */
export function afterPrinted(callback: () => void): void {
  afterWritten(process.stdout, () => afterWritten(process.stderr, callback));
}

function afterWritten(stream: Writable, callback: () => void): void {
  try {
    // One that has been ended says so by an error as well.
    stream.on('error', () => {});
    Writable.prototype.write.call(stream, '', 'utf8', () => callback());
  } catch {
    callback();
  }
}
