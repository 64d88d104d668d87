/** Values in a row, and `undefined` where there is none. */
type Block<T> = (T | undefined)[];

const FIRST_SIZE = 8;
const LAST_SIZE = 1024;

/**
 * First in, first out, without ever copying a value to make room: blocks in a row, of which the last is written and the first is read. One is enough
 * for a channel that runs empty now and then.
 */
export class ValueBlocks<T> {
  /** The most values there can be. */
  readonly max: number;
  length = 0;
  /** The block that is read, from `#at` on. */
  #head: Block<T> | null = null;
  #at = 0;
  /** The block that is written, up to `#end`; the same one as long as one is enough. */
  #tail: Block<T> | null = null;
  #end = 0;
  /** The blocks behind the one that is read. */
  #more: Block<T>[] | null = null;

  constructor(max: number) {
    this.max = max;
  }

  /** Adds a value behind all others. */
  push(value: T): void {
    let block = this.#tail;
    if (block === null || this.#end === block.length) block = this.#extend(block);
    block[this.#end++] = value;
    this.length++;
  }

  /** Takes the oldest value, of which there must be one. */
  shift(): T {
    const block = this.#head as Block<T>;
    const value = block[this.#at] as T;
    block[this.#at++] = undefined;
    this.length--;
    if (this.#at === block.length || this.length === 0) this.#advance();
    return value;
  }

  /** Takes the oldest values, of which there must be as many. */
  shiftInto(buffer: T[], count: number): void {
    for (let left = count; left > 0; ) {
      const block = this.#head as Block<T>;
      const from = this.#at;
      const to = Math.min(from + left, block.length);
      for (let at = from; at < to; at++) {
        buffer.push(block[at] as T);
        block[at] = undefined;
      }
      left -= to - from;
      this.#at = to;
      this.length -= to - from;
      if (to === block.length || this.length === 0) this.#advance();
    }
  }

  /** Lets go of the blocks, once there is nothing in them. */
  clear(): void {
    this.#head = this.#tail = this.#more = null;
  }

  // Behind the block that was read, or at its start again when there is nothing in any.
  #advance(): void {
    if (this.length > 0) this.#head = (this.#more as Block<T>[]).shift() as Block<T>;
    else this.#end = 0;
    this.#at = 0;
  }

  #extend(full: Block<T> | null): Block<T> {
    const size = Math.min(full === null ? FIRST_SIZE : full.length * 2, LAST_SIZE, this.max);
    const block: Block<T> = new Array<T | undefined>(size).fill(undefined);
    if (full === null) this.#head = block;
    else {
      this.#more ??= [];
      this.#more.push(block);
    }
    this.#tail = block;
    this.#end = 0;
    return block;
  }
}
