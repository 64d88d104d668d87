/** A row and how well it matches. */
export interface Scored {
  readonly row: number;
  readonly score: number;
}

/**
 * The best of many rows, of which only `limit` are kept: a heap with the worst of them on top. Of equal scores the lower row is better, so the
 * result does not depend on the order in which rows are offered.
 */
export class TopList {
  readonly #limit: number;
  readonly #rows: number[] = [];
  readonly #scores: number[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** What a row must exceed or equal to be kept. */
  get bar(): number {
    return this.#rows.length < this.#limit ? Number.NEGATIVE_INFINITY : (this.#scores[0] ?? Number.POSITIVE_INFINITY);
  }

  offer(row: number, score: number): void {
    if (this.#rows.length < this.#limit) {
      this.#rows.push(row);
      this.#scores.push(score);
      this.#rise(this.#rows.length - 1);
    } else if (this.#limit > 0 && this.#isWorse(0, score, row)) {
      this.#rows[0] = row;
      this.#scores[0] = score;
      this.#sink();
    }
  }

  /** The rows that were kept, best first. */
  sorted(): Scored[] {
    return this.#rows.map((row, at) => ({ row, score: this.#scores[at] as number })).sort(byScore);
  }

  /** Whether what lies at a place is worse than another row. */
  #isWorse(at: number, score: number, row: number): boolean {
    const own = this.#scores[at] as number;
    return own < score || (own === score && (this.#rows[at] as number) > row);
  }

  #rise(at: number): void {
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!this.#isWorse(at, this.#scores[above] as number, this.#rows[above] as number)) return;
      this.#swap(at, above);
      at = above;
    }
  }

  #sink(): void {
    const { length } = this.#rows;
    for (let at = 0; ; ) {
      let worst = at;
      for (const below of [2 * at + 1, 2 * at + 2]) {
        if (below < length && this.#isWorse(below, this.#scores[worst] as number, this.#rows[worst] as number)) {
          worst = below;
        }
      }
      if (worst === at) return;
      this.#swap(at, worst);
      at = worst;
    }
  }

  #swap(a: number, b: number): void {
    const [row, score] = [this.#rows[a] as number, this.#scores[a] as number];
    this.#rows[a] = this.#rows[b] as number;
    this.#scores[a] = this.#scores[b] as number;
    this.#rows[b] = row;
    this.#scores[b] = score;
  }
}

/** The better of two first. */
export function byScore(a: Scored, b: Scored): number {
  return b.score - a.score || a.row - b.row;
}
