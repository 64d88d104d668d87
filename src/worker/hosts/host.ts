import type { Link } from '../link/link.js';
import type { Progress } from './progress-board.js';

/** How a host came to its end. */
export interface HostExit {
  /** The exit code, or null when a signal ended it. */
  readonly exitCode: number | null;
  /** The signal, or null when it exited by itself. */
  readonly signal: string | null;
  /** The last lines that it wrote to stderr. */
  readonly stderr: readonly string[];
  /** What the host itself reported, where it could: a thread's uncaught error, a failed start. */
  readonly cause?: unknown;
}

/** A thread or a process that runs one model, as its parent sees it. It never holds the parent's event loop. */
export interface Host {
  readonly kind: 'thread' | 'process';
  readonly pid: number | undefined;
  readonly link: Link;
  /** Settles once it is gone; never rejects. */
  readonly exited: Promise<HostExit>;
  /** Resolves when its program runs, and is about to load its model; undefined for one that is known to run. */
  readonly started?: Promise<void> | undefined;
  /** When it was started, in ms of `monotonicNow`. */
  readonly startedAt: number;
  /** What the model's thread last showed of itself, and when that was heard (ms of `monotonicNow`); undefined before the first sign. */
  progress(): { readonly value: Progress; readonly heardAt: number } | undefined;
  /** Whether it is silent for want of a core, a disk or memory, and was not stopped; undefined where nothing tells. */
  isStarved?(): Promise<boolean | undefined>;
  /** Ends it at once, whatever it is doing: a process by SIGKILL, which also ends one that was stopped. */
  kill(): void;
}
