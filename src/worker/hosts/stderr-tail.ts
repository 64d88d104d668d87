/** Keeps the last lines of a stream of text, in bounded memory, for the error that says why a worker died. */
export class StderrTail {
  readonly #maxLines: number;
  readonly #maxLength: number;
  readonly #lines: string[] = [];
  #partial = '';

  constructor(maxLines = 20, maxLength = 1_000) {
    this.#maxLines = maxLines;
    this.#maxLength = maxLength;
  }

  push(chunk: string): void {
    const pieces = (this.#partial + chunk).split('\n');
    this.#partial = (pieces.pop() as string).slice(0, this.#maxLength);
    for (const piece of pieces.slice(-this.#maxLines)) this.#add(piece);
  }

  lines(): readonly string[] {
    const lines = this.#partial === '' ? this.#lines : [...this.#lines, this.#partial];
    return lines.slice(-this.#maxLines);
  }

  #add(line: string): void {
    const text = line.replace(/\r$/, '').slice(0, this.#maxLength);
    if (text === '') return;
    this.#lines.push(text);
    if (this.#lines.length > this.#maxLines) this.#lines.shift();
  }
}
