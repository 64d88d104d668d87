import { type IndexItem, parseItem } from './item.js';
import { IndexCorruptError } from './search-errors.js';

const NEWLINE = 10;

/** The items of an index by row. A line is parsed when its item is first asked for: opening a large index parses none. */
export class ItemTable {
  readonly #lines: Buffer;
  /** Where each line begins, and where the last one ends. */
  readonly #starts: Float64Array;
  readonly #items: (IndexItem | undefined)[] = [];
  readonly #name: string;
  #length: number;

  /**
   * @param name What errors call the file.
   * @param lines `length` lines, each with its newline.
   * @throws IndexCorruptError When there are fewer.
   */
  constructor(name: string, lines: Buffer, length: number) {
    this.#name = name;
    this.#lines = lines;
    this.#length = length;
    this.#starts = new Float64Array(length + 1);
    let at = 0;
    for (let row = 0; row < length; row++) {
      at = lines.indexOf(NEWLINE, at) + 1;
      if (at === 0) throw new IndexCorruptError(`Cannot read ${name}: it has ${row} lines, expected ${length}`);
      this.#starts[row + 1] = at;
    }
  }

  get length(): number {
    return this.#length;
  }

  /** The item of a row. @throws IndexCorruptError When its line holds none. */
  at(row: number): IndexItem {
    const known = this.#items[row];
    if (known !== undefined) return known;
    const item = parseItem(this.#lines.toString('utf8', this.#starts[row], this.#starts[row + 1]));
    if (item === undefined) throw new IndexCorruptError(`Cannot read ${this.#name}: line ${row + 1} is no item`);
    this.#items[row] = item;
    return item;
  }

  append(items: readonly IndexItem[]): void {
    for (const item of items) this.#items[this.#length++] = item;
  }
}
