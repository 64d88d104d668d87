import { WorkerCrashedError } from '../errors.js';
import type { HostExit } from './host.js';

/** How a host ended, in words that follow its name. */
export function describeExit(exit: HostExit): string {
  const { exitCode, signal, cause } = exit;
  if (hasEatenItsHeap(exit)) return `ran out of memory (${signal ?? `exit code ${exitCode}`})`;
  const why = cause === undefined ? '' : ` (${String(cause)})`;
  if (signal !== null) return `was killed by ${signal}${why}`;
  if (exitCode === null) return `could not be started (${String(cause)})`;
  return `exited with code ${exitCode}${why}`;
}

/** Whether its JavaScript heap reached its limit: a thread says so by a code, of a process V8's last words do. */
function hasEatenItsHeap({ cause, stderr }: HostExit): boolean {
  if ((cause as { code?: unknown } | null | undefined)?.code === 'ERR_WORKER_OUT_OF_MEMORY') return true;
  return stderr.some((line) => line.startsWith('FATAL ERROR: ') && line.includes('out of memory'));
}

/**
 * What the calls of a host that has ended are answered with.
 *
 * @param stalled How it hung, where it was killed for that.
 * @param operations What it was running.
 */
export function crashError(
  id: string,
  exit: HostExit,
  stalled: string | undefined,
  operations: Iterable<string> = [],
): WorkerCrashedError {
  const running = [...new Set(operations)].join(', ');
  const what = `${stalled ?? describeExit(exit)}${running === '' ? '' : ` while running ${running}`}`;
  const stderr = exit.stderr.join('\n');
  return new WorkerCrashedError(`Worker ${id} ${what}`, {
    exitCode: exit.exitCode,
    signal: exit.signal,
    stderr,
    ...(exit.cause === undefined ? {} : { cause: exit.cause }),
  });
}

/** V8's last words. Behind them comes the native stack, one numbered line for each frame. */
const OUT_OF_MEMORY = /^FATAL ERROR: .*out of memory$/;
const FRAME = /^(?:\s*\d+: |-----)/;

/**
 * Keeps the last lines of a stream of text, in bounded memory, for the error that says why a worker died. The line in which V8 says that it is out
 * of memory is kept as the first of them, however many frames come behind it.
 */
export class StderrTail {
  readonly #maxLines: number;
  readonly #maxLength: number;
  readonly #lines: string[] = [];
  #partial = '';
  #lastWords: string | undefined;

  constructor(maxLines = 20, maxLength = 1_000) {
    this.#maxLines = maxLines;
    this.#maxLength = maxLength;
  }

  push(chunk: string): void {
    const pieces = (this.#partial + chunk).split('\n');
    this.#partial = (pieces.pop() as string).slice(0, this.#maxLength);
    for (const piece of pieces) this.#add(piece);
  }

  lines(): readonly string[] {
    const all = this.#partial === '' ? this.#lines : [...this.#lines, this.#partial];
    const last = all.slice(-this.#maxLines);
    const words = this.#lastWords;
    return words === undefined || last.includes(words) ? last : [words, ...last.slice(1)];
  }

  #add(line: string): void {
    const text = line.replace(/\r$/, '').slice(0, this.#maxLength);
    if (text === '') return;
    if (OUT_OF_MEMORY.test(text)) this.#lastWords = text;
    else if (!FRAME.test(text)) this.#lastWords = undefined;
    this.#lines.push(text);
    if (this.#lines.length > this.#maxLines) this.#lines.shift();
  }
}
