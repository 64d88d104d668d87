/**
 * Turns an example into a module that asserts what its comments promise. Lines are kept one to one (the module has one line more, at the
 * top), so that every error leads back to the line of the document.
 *
 * - `expression; // => value` asserts deep equality with the value of the expression on the right; so does a `// => value` on a line of its own
 *   for the statement above it, and `const name = …; // => value` for the name
 * - `statement; // throws Name` asserts a throw or rejection of that name (or code)
 */
import type { Example } from './extract.js';

const CLAIM = /^(.*?)\/\/\s*(?:=>\s*(.+)|throws\s+([A-Za-z_$][\w$]*).*)$/;
const DECLARATION = /^\s*(?:const|let|var)\s+([A-Za-z_$][\w$]*)\s*(?::[^=]*)?=/;

/** Where a name that examples use without importing it comes from. */
export type ImportTable = ReadonlyMap<string, string>;

/** The module text of an example. */
export function toModule(example: Example, imports: ImportTable): string {
  const lines = example.code.split('\n');
  for (let index = 0; index < lines.length; index++) {
    const match = CLAIM.exec(lines[index] as string);
    if (match === null) continue;
    const [, before = '', value, thrown] = match;
    const where = JSON.stringify(`${example.file}:${example.line + index}`);
    let end = index;
    lines[index] = before.trimEnd();
    while (end > 0 && (lines[end] as string).trim() === '') end--;
    const start = statementStart(lines, end);
    if (value !== undefined) assertEqual(lines, start, end, value, where);
    else assertThrows(lines, start, end, thrown as string, where);
  }
  return `${header(example.code, imports)}\n${lines.join('\n')}\n`;
}

function assertEqual(lines: string[], start: number, end: number, value: string, where: string): void {
  const name = DECLARATION.exec(lines[start] as string)?.[1];
  const expected = value.trim().replace(/;$/, '');
  if (name !== undefined) {
    lines[end] = `${lines[end]} __equal(${name}, (${expected}), ${where});`;
    return;
  }
  const indent = /^\s*/.exec(lines[start] as string)?.[0] ?? '';
  lines[end] = (lines[end] as string).replace(/;\s*$/, '');
  lines[start] = `${indent};__equal((${(lines[start] as string).slice(indent.length)}`;
  lines[end] = `${lines[end]}), (${expected}), ${where});`;
}

function assertThrows(lines: string[], start: number, end: number, name: string, where: string): void {
  const indent = /^\s*/.exec(lines[start] as string)?.[0] ?? '';
  lines[start] = `${indent};await __throws(async () => { ${(lines[start] as string).slice(indent.length)}`;
  lines[end] = `${lines[end]} }, '${name}', ${where});`;
}

/** The first line of the statement that ends on `end`: as far up as brackets are open, or the line above does not end a statement. */
function statementStart(lines: readonly string[], end: number): number {
  let start = end;
  let depth = nesting(lines[start] as string);
  while (start > 0) {
    const above = withoutComment(lines[start - 1] as string).trim();
    if (depth >= 0 && (above === '' || /[;{}]$/.test(above) || /:$/.test(above))) break;
    start--;
    depth += nesting(lines[start] as string);
  }
  return start;
}

function nesting(line: string): number {
  const code = withoutComment(line).replace(/'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`/g, '');
  return (code.match(/[([{]/g)?.length ?? 0) - (code.match(/[)\]}]/g)?.length ?? 0);
}

function withoutComment(line: string): string {
  return line.replace(/(^|\s)\/\/.*$/, '');
}

function header(code: string, imports: ImportTable): string {
  const used = new Map<string, string[]>();
  for (const [name, from] of imports) {
    const word = new RegExp(`(?<![\\w$.'])${name.replaceAll('$', '\\$')}(?![\\w$'])`);
    if (!word.test(code) || isDeclared(code, name)) continue;
    used.set(from, [...(used.get(from) ?? []), name]);
  }
  const clauses = [...used].map(([from, names]) => `import { ${names.join(', ')} } from '${from}';`);
  return [`import { __equal, __throws } from './assert.mjs';`, ...clauses].join(' ');
}

function isDeclared(code: string, name: string): boolean {
  const escaped = name.replaceAll('$', '\\$');
  const declared = new RegExp(
    `(?:^|[\\s;{(])(?:const|let|var|function|class|interface|type|enum)\\s+${escaped}\\b` +
      `|(?:const|let|var)\\s+[[{][^=]*?(?<![\\w$])${escaped}(?![\\w$])[^=]*=` +
      `|import\\s[^;]*?(?<![\\w$])${escaped}(?![\\w$])[^;]*?from`,
  );
  return declared.test(code);
}
