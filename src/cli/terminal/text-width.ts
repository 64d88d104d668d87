const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u;
const segmenter = new Intl.Segmenter();

/** How many terminal columns a text takes: combining marks take none, East Asian wide characters and emoji two. */
export function textWidth(text: string): number {
  let width = 0;
  for (const { segment } of segmenter.segment(text)) width += WIDE.test(segment) ? 2 : 1;
  return width;
}

/** Shortens a text to at most `columns`, taking from its middle, where file names differ least. */
export function shorten(text: string, columns: number): string {
  if (textWidth(text) <= columns) return text;
  if (columns <= 1) return '…'.slice(0, Math.max(0, columns));
  const segments = [...segmenter.segment(text)].map(({ segment }) => segment);
  const tail: string[] = [];
  const head: string[] = [];
  let left = columns - 1;
  let fromEnd = true;
  while (segments.length > 0) {
    const segment = (fromEnd ? segments.pop() : segments.shift()) as string;
    const width = textWidth(segment);
    if (width > left) break;
    left -= width;
    if (fromEnd) tail.unshift(segment);
    else head.push(segment);
    fromEnd = !fromEnd;
  }
  return `${head.join('')}…${tail.join('')}`;
}

/** A text that is safe to print: control characters, which a file name may hold, are shown as `?`. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, '?');
}
