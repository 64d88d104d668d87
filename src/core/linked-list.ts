/** An item of a {@link LinkedList}, with the links of the list that it is in. */
export interface Linked<T> {
  next: T | undefined;
  previous: T | undefined;
}

/** An intrusive doubly linked list: O(1) at both ends and for a removal from the middle, and no allocation. An item is in one list at most. */
export class LinkedList<T extends Linked<T>> {
  first: T | undefined;
  last: T | undefined;
  size = 0;

  /** Appends an item that is in no list. */
  push(item: T): void {
    item.previous = this.last;
    if (this.last === undefined) this.first = item;
    else this.last.next = item;
    this.last = item;
    this.size++;
  }

  /** Puts an item that is in no list before all others. */
  pushFront(item: T): void {
    item.next = this.first;
    if (this.first === undefined) this.last = item;
    else this.first.previous = item;
    this.first = item;
    this.size++;
  }

  /** Removes an item that is in this list. */
  remove(item: T): void {
    if (item.previous === undefined) this.first = item.next;
    else item.previous.next = item.next;
    if (item.next === undefined) this.last = item.previous;
    else item.next.previous = item.previous;
    item.next = undefined;
    item.previous = undefined;
    this.size--;
  }

  /** A copy of the items, for a loop that removes some. */
  toArray(): T[] {
    const items: T[] = [];
    for (let item = this.first; item !== undefined; item = item.next) items.push(item);
    return items;
  }
}
