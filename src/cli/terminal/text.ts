/** Text for a terminal: widths, tables, durations and rates. */
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u;
const segmenter = new Intl.Segmenter();

/** How many terminal columns a text takes: combining marks take none, East Asian wide characters and emoji two. */
export function textWidth(text: string): number {
  let width = 0;
  for (const { segment } of segmenter.segment(text)) width += WIDE.test(segment) ? 2 : 1;
  return width;
}

/** Shortens a text to at most `columns` by cutting its middle: file names differ at their ends. */
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

/** Makes a text safe to print: control characters are shown as `?`. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, '?');
}

/** A column of a table. */
export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

/**
 * Renders rows as aligned columns under a ruled header. A table wider than `width` has its widest columns shortened.
 *
 * @param columns The columns, left to right.
 * @param rows The cells of each row.
 * @param width The widest a line may be, in terminal columns; unbounded by default.
 * @returns The table, each line ended by a newline.
 */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number = Number.POSITIVE_INFINITY,
): string {
  const cells = rows.map((row) => columns.map((_, index) => printable(row[index] ?? '')));
  const widths = columns.map((column, index) =>
    Math.max(textWidth(column.title), ...cells.map((row) => textWidth(row[index] ?? ''))),
  );
  const gap = 2;
  let excess = widths.reduce((sum, each) => sum + each, 0) + gap * (columns.length - 1) - width;
  while (excess > 0) {
    const widest = widths.indexOf(Math.max(...widths));
    const current = widths[widest] as number;
    if (current <= 8) break;
    widths[widest] = current - 1;
    excess--;
  }
  const line = (row: readonly string[]): string =>
    row
      .map((cell, index) => {
        const room = widths[index] as number;
        const text = shorten(cell, room);
        const padding = ' '.repeat(Math.max(0, room - textWidth(text)));
        return columns[index]?.align === 'right' ? padding + text : text + padding;
      })
      .join(' '.repeat(gap))
      .trimEnd();
  const header = line(columns.map((column) => column.title));
  const rule = widths.map((each) => '─'.repeat(each)).join(' '.repeat(gap));
  return `${[header, rule, ...cells.map(line)].join('\n')}\n`;
}

/** A duration in words: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`. */
export function formatDuration(ms: number): string {
  const seconds = ms / 1000;
  if (!Number.isFinite(seconds)) return '?';
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}

/** A rate with two or three significant digits: `0.42`, `8.3`, `125`. */
export function formatRate(perSecond: number): string {
  if (!Number.isFinite(perSecond) || perSecond <= 0) return '0';
  if (perSecond < 1) return perSecond.toFixed(2);
  if (perSecond < 20) return perSecond.toFixed(1);
  return String(Math.round(perSecond));
}
