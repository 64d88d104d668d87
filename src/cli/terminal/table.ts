import { printable, shorten, textWidth } from './text-width.js';

/** A column of a table. */
export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

/**
 * Renders rows as aligned columns under a ruled header. Where the whole is wider than `columns`, the widest columns are shortened.
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
