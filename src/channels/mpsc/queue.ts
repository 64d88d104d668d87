/** Values in a row, and `undefined` in free places. */
type Block<T> = (T | undefined)[];

const FIRST_SIZE = 8;
const LAST_SIZE = 1024;

/**
 * The values of a channel, first in, first out: blocks in a row, of which the last is written and the first is read. It grows without copying; a
 * channel that runs empty now and then needs one block, and one that stays full reuses two.
 */
export class ValueQueue<T> {
  length = 0;
  readonly #max: number;
  /** The block that is read, from `#at` on. */
  #head: Block<T> | null = null;
  #at = 0;
  /** The block that is written, up to `#end`; it may be the one that is read. */
  #tail: Block<T> | null = null;
  #end = 0;
  /** The blocks behind the one that is read. */
  #more: Block<T>[] | null = null;
  /** A block that was read, for the next extension. */
  #spare: Block<T> | null = null;

  /** @param max The most values there can be. */
  constructor(max: number) {
    this.#max = max;
  }

  /** Adds a value at the end. */
  push(value: T): void {
    let block = this.#tail;
    if (block === null || this.#end === block.length) block = this.#extend(block);
    block[this.#end++] = value;
    this.length++;
  }

  /** Takes the oldest value; there must be one. */
  shift(): T {
    const block = this.#head as Block<T>;
    const value = block[this.#at] as T;
    block[this.#at++] = undefined;
    this.length--;
    if (this.#at === block.length || this.length === 0) this.#advance(block);
    return value;
  }

  /** The oldest value; there must be one. */
  get first(): T {
    return (this.#head as Block<T>)[this.#at] as T;
  }

  /** Takes every value, and lets go of the blocks. */
  clear(): T[] {
    const values: T[] = [];
    while (this.length > 0) values.push(this.shift());
    this.#head = this.#tail = this.#more = this.#spare = null;
    return values;
  }

  /** Goes on to the next block, or to the start of this one when no value is left. */
  #advance(read: Block<T>): void {
    this.#at = 0;
    if (this.length === 0) {
      this.#end = 0;
    } else {
      this.#head = (this.#more as Block<T>[]).shift() as Block<T>;
      this.#spare = read;
    }
  }

  #extend(full: Block<T> | null): Block<T> {
    const size = Math.min(full === null ? FIRST_SIZE : full.length * 2, LAST_SIZE, this.#max);
    const spare = this.#spare;
    const block: Block<T> = spare?.length === size ? spare : new Array<T | undefined>(size).fill(undefined);
    this.#spare = null;
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
