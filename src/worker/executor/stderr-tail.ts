/** V8's last words. Behind them comes the native stack, one numbered line for each frame. */
const OUT_OF_MEMORY = /^FATAL ERROR: .*out of memory$/;
const FRAME = /^(?:\s*\d+: |-----)/;

/**
 * Keeps the last lines of a stream of text, in bounded memory, for the error that says why a worker died. The line in which V8 says that it is out
 * of memory is kept as the first of them, however many frames come behind it.
 */
export class StderrTail {
  readonly #maxLines: number;
  readonly #maxLength: number;
  readonly #lines: string[] = [];
  #partial = '';
  #lastWords: string | undefined;

  constructor(maxLines = 20, maxLength = 1_000) {
    this.#maxLines = maxLines;
    this.#maxLength = maxLength;
  }

  push(chunk: string): void {
    const pieces = (this.#partial + chunk).split('\n');
    this.#partial = (pieces.pop() as string).slice(0, this.#maxLength);
    for (const piece of pieces) this.#add(piece);
  }

  lines(): readonly string[] {
    const all = this.#partial === '' ? this.#lines : [...this.#lines, this.#partial];
    const last = all.slice(-this.#maxLines);
    const words = this.#lastWords;
    return words === undefined || last.includes(words) ? last : [words, ...last.slice(1)];
  }

  #add(line: string): void {
    const text = line.replace(/\r$/, '').slice(0, this.#maxLength);
    if (text === '') return;
    if (OUT_OF_MEMORY.test(text)) this.#lastWords = text;
    else if (!FRAME.test(text)) this.#lastWords = undefined;
    this.#lines.push(text);
    if (this.#lines.length > this.#maxLines) this.#lines.shift();
  }
}
