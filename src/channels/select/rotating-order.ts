import { pin } from '../pinned.js';
import type { Order } from './order.js';

/** From behind the last winner, all the way round. */
export class RotatingOrder implements Order {
  readonly #count: number;
  #start = 0;

  constructor(count: number, start: number) {
    this.#count = count;
    this.#start = start % count;
  }

  begin(): void {}

  at(position: number): number {
    const index = this.#start + position;
    return index < this.#count ? index : index - this.#count;
  }

  won(index: number): void {
    const next = index + 1;
    this.#start = next === this.#count ? 0 : next;
  }
}

pin(new RotatingOrder(1, 0));
