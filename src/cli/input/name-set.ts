import { createHash } from 'node:crypto';

const WORDS = 4;
const MAX_LOAD = 0.7;

/**
 * A set of names that keeps 16 bytes of each name's digest, for lists of tens of millions. Open addressing with linear probing.
 */
export class NameSet {
  #slots = 1_024;
  #table: Uint32Array = new Uint32Array(this.#slots * WORDS);
  #size = 0;

  /** Adds a name; returns false if the set has it. */
  add(name: string): boolean {
    // Not as UTF-8, which would map all escaped bytes to one character.
    const bytes = createHash('sha256').update(name, 'utf16le').digest();
    const digest = new Uint32Array(WORDS);
    for (let word = 0; word < WORDS; word++) digest[word] = bytes.readUInt32LE(4 * word);
    // All zeros is an empty slot.
    digest[0] = (digest[0] as number) | 1;
    if (this.#size >= MAX_LOAD * this.#slots) this.#grow();
    if (!insert(this.#table, this.#slots, digest)) return false;
    this.#size++;
    return true;
  }

  #grow(): void {
    const slots = this.#slots * 2;
    const table = new Uint32Array(slots * WORDS);
    for (let at = 0; at < this.#table.length; at += WORDS) {
      if (this.#table[at] !== 0) insert(table, slots, this.#table.subarray(at, at + WORDS));
    }
    this.#slots = slots;
    this.#table = table;
  }
}

function insert(table: Uint32Array, slots: number, digest: Uint32Array): boolean {
  for (let slot = (digest[1] as number) & (slots - 1); ; slot = (slot + 1) & (slots - 1)) {
    const at = slot * WORDS;
    if (table[at] === 0) {
      table.set(digest, at);
      return true;
    }
    let word = 0;
    while (word < WORDS && table[at + word] === digest[word]) word++;
    if (word === WORDS) return false;
  }
}
