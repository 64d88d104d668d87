/** Calls by their id. Most of the time there is one at most, which costs no hashing. */
export class CallTable<T extends { readonly id: number }> {
  #only: T | undefined;
  readonly #others = new Map<number, T>();

  get isEmpty(): boolean {
    return this.#only === undefined && this.#others.size === 0;
  }

  add(call: T): void {
    if (this.isEmpty) this.#only = call;
    else this.#others.set(call.id, call);
  }

  get(id: number): T | undefined {
    return this.#only?.id === id ? this.#only : this.#others.get(id);
  }

  /** Removes a call that is in it. */
  remove(call: T): void {
    if (this.#only === call) this.#only = undefined;
    else this.#others.delete(call.id);
  }
}
