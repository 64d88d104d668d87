/** Finds the examples of sources and of Markdown pages, with the line each one starts on. */

export interface Example {
  /** The file it comes from, relative to the root, with forward slashes. */
  readonly file: string;
  /** The line of its first line of code, counted from 1. */
  readonly line: number;
  readonly code: string;
  /** False for a block marked `no-run`: it is only type checked. */
  readonly run: boolean;
}

const FENCE = /^(?:`{3,}|~{3,})/;

/** The examples of a TypeScript source: every fenced `ts` block below an `@example` tag in a doc comment. */
export function extractFromSource(file: string, text: string): Example[] {
  const examples: Example[] = [];
  for (const comment of text.matchAll(/\/\*\*[\s\S]*?\*\//g)) {
    const firstLine = lineAt(text, comment.index);
    const lines = comment[0].split('\n').map((line) => line.replace(/^\s*\*? ?(?!\/)/, ''));
    const start = lines.findIndex((line) => /^\s*@example\b/.test(line));
    if (start < 0) continue;
    examples.push(...extractFences(file, lines.slice(start), firstLine + start));
  }
  return examples;
}

/** The examples of a Markdown page: every fenced `ts` block. */
export function extractFromMarkdown(file: string, text: string): Example[] {
  return extractFences(file, text.split('\n'), 1);
}

function extractFences(file: string, lines: readonly string[], firstLine: number): Example[] {
  const examples: Example[] = [];
  for (let index = 0; index < lines.length; index++) {
    const opening = (lines[index] as string).trim();
    const fence = FENCE.exec(opening)?.[0];
    if (fence === undefined) continue;
    const [language = '', ...flags] = opening.slice(fence.length).trim().split(/\s+/);
    const start = index + 1;
    index = start;
    while (index < lines.length && (lines[index] as string).trim() !== fence) index++;
    if (language !== 'ts' && language !== 'typescript') continue;
    examples.push({
      file,
      line: firstLine + start,
      code: lines.slice(start, index).join('\n'),
      run: !flags.includes('no-run'),
    });
  }
  return examples;
}

function lineAt(text: string, index: number): number {
  let line = 1;
  for (let at = text.indexOf('\n'); at >= 0 && at < index; at = text.indexOf('\n', at + 1)) line++;
  return line;
}
