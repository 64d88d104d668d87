import type { ChildProcess } from 'node:child_process';
import { monotonicNow } from '../../core/index.js';
import { createLink } from '../link/link.js';
import type { Host } from './host.js';

/**
 * The host of a child process that the system did not start: its folder is not there, or there are too many files or processes. Nothing reaches
 * it, and it ends with the error that says why. Where files are what is wanting, Node gives such a child no streams at all.
 */
export function unstartedHost(child: ChildProcess, cwd: string | undefined): Host {
  const link = createLink({ canTransfer: false, send() {}, subscribe() {} });
  return {
    kind: 'process',
    pid: undefined,
    link,
    exited: new Promise((resolve) => {
      child.once('error', (error) => {
        link.close();
        // Of a folder that is not there Node says that its own executable is missing.
        const cause = cwd === undefined ? error : new Error(`${error.message} in ${cwd}`, { cause: error });
        resolve({ exitCode: null, signal: null, stderr: [], cause });
      });
    }),
    startedAt: monotonicNow(),
    progress: () => undefined,
    kill() {},
  };
}
