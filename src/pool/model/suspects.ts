/**
 * Requests that a crashed worker held, any of which may have crashed it.
 *
 * Invariants:
 * - A suspect runs alone: its worker holds nothing else until it is done. So a second crash convicts one request, and takes no other along.
 * - A loss beside other requests counts against none of them. One that was alone counts, and is forgiven `retries` times.
 * - A request is a suspect until it is answered, so it is lost beside others at most once.
 */
import { type Linked, LinkedList } from '../../core/index.js';

/** What a request must carry to be a suspect. */
export interface Suspect extends Linked<Suspect> {
  isSuspect: boolean;
  /** How many workers were lost that ran nothing but this. */
  lostAlone: number;
}

export class Suspects<T extends Suspect> {
  readonly #waiting = new LinkedList<Suspect>();
  readonly #retries: number;

  /** @param retries How many workers may be lost with a request alone in them before it is guilty. */
  constructor(retries: number) {
    this.#retries = retries;
  }

  /** How many wait for a worker of their own. */
  get size(): number {
    return this.#waiting.size;
  }

  /**
   * Judges a request that was lost with its worker.
   *
   * @param isAlone Whether the worker held nothing else.
   * @returns Whether it may run again; false for the guilty one.
   */
  acquit(suspect: T, isAlone: boolean): boolean {
    if (isAlone) suspect.lostAlone += 1;
    return this.#retries > 0 && suspect.lostAlone <= this.#retries;
  }

  /** Lines a request up, behind those that are there: what has crashed a worker before keeps none of the others waiting. */
  push(suspect: T): void {
    suspect.isSuspect = true;
    this.#waiting.push(suspect);
  }

  take(): T | undefined {
    const { first } = this.#waiting;
    if (first !== undefined) this.#waiting.remove(first);
    return first as T | undefined;
  }

  /** Takes out one that waits here. */
  remove(suspect: T): void {
    this.#waiting.remove(suspect);
  }

  toArray(): T[] {
    return this.#waiting.toArray() as T[];
  }
}
