/**
 * Checks the doc comments of what the channels export. Run by `npm run layers`, with the layers.
 *
 * Rules: every exported symbol, and every public member of an exported class or interface, has a doc comment; whatever answers a promise says how
 * safe it is to cancel; the order is sentence, behaviour, **Cancel safety**, `@param`, `@returns`, `@throws`, `@example`; a `@param` names a
 * parameter, or an option of one.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { glob } from 'tinyglobby';

export interface DocumentedFile {
  /** The path below the root, with forward slashes. */
  readonly name: string;
  readonly text: string;
}

const ORDER = ['**Cancel safety:**', '@param', '@returns', '@throws', '@example'];
const TOP =
  /^export (?:declare )?(?:abstract )?(?:async )?(?:function\*?|class|interface|type|const|let) ([A-Za-z_$][\w$]*)/;
const MEMBER =
  /^ {2}(?:override |static |readonly |async |get |set |abstract )*(\[[\w.]+\]|[A-Za-z_$][\w$]*)[?!]?(?=[(<:=; ])/;
const HIDDEN = /^ {2}(?:(?:static |readonly |async |get |set )*#|private |protected |set |static \{)/;
const WAITS = /\)\s*:\s*(?:Promise<|Async\w*Iter\w*<|Notified\b)|^ {0,2}(?:export |override )*async /;

/** The faults in the doc comments of some files, one line each. */
export function findDocFaults(files: readonly DocumentedFile[], isPublic: (name: string) => boolean): string[] {
  const faults: string[] = [];
  for (const { name, text } of files) {
    const lines = text.split('\n');
    let inside: string | undefined;
    for (let at = 0; at < lines.length; at++) {
      const line = lines[at] as string;
      const top = TOP.exec(line)?.[1];
      if (/^}/.test(line)) inside = undefined;
      if (top !== undefined) {
        inside = /\b(?:class|interface)\b/.test(line) && isPublic(top) && !/}$/.test(line) ? top : undefined;
        if (isPublic(top)) check(top, at, top);
        continue;
      }
      if (inside === undefined || HIDDEN.test(line)) continue;
      const member = MEMBER.exec(line)?.[1];
      if (member !== undefined) check(`${inside}.${member}`, at, member);
    }

    function check(symbol: string, at: number, own: string): void {
      const where = `${name}:${at + 1}: ${symbol}`;
      const signature = signatureAt(lines, at);
      // An overload stands for all of its kind, and an implementation behind overloads is nobody's business.
      if (isImplementation(lines, at, own)) return;
      const doc = docAbove(lines, at);
      if (doc === undefined) {
        if (!NEEDS_NONE.has(own)) faults.push(`${where} has no doc comment`);
        return;
      }
      if (doc.includes('@internal')) return;
      if (WAITS.test(signature) && !doc.includes('**Cancel safety:**') && !isShortForm(doc)) {
        faults.push(`${where} answers a promise and does not say how safe it is to cancel`);
      }
      const places = ORDER.flatMap((part) => [...doc.matchAll(toPattern(part))].map(({ index }) => ({ part, index })));
      places.sort((a, b) => a.index - b.index);
      for (const [rank, { part }] of places.entries()) {
        const before = places[rank - 1]?.part;
        if (before !== undefined && ORDER.indexOf(part) < ORDER.indexOf(before)) {
          faults.push(`${where}: ${part} comes after ${before}`);
        }
      }
      for (const [, parameter = ''] of doc.matchAll(/@param ([\w.]+)/g)) {
        const [first = ''] = parameter.split('.');
        if (!new RegExp(`\\b${first}\\b`).test(signature)) {
          faults.push(`${where}: @param ${parameter} names no parameter`);
        }
      }
    }
  }
  return faults;
}

/** What every reader knows without a comment. */
const NEEDS_NONE = new Set(['constructor', '[Symbol.iterator]', '[Symbol.asyncIterator]', 'code', 'fault']);

function toPattern(part: string): RegExp {
  return new RegExp(`^\\s*\\* ${part.replaceAll('*', '\\*')}`, 'gm');
}

/** A comment that refers to another: "The same as {@link X}", "See {@link X}". */
function isShortForm(doc: string): boolean {
  return /The same (?:as|for)\b/.test(doc);
}

/** The doc comment that ends right above a line. */
function docAbove(lines: readonly string[], at: number): string | undefined {
  let end = at - 1;
  while (/^\s*\/\/ biome-ignore/.test(lines[end] ?? '')) end--;
  if (!/\*\/\s*$/.test(lines[end] ?? '')) return undefined;
  let start = end;
  while (start > 0 && !/\/\*\*/.test(lines[start] as string)) start--;
  return lines.slice(start, end + 1).join('\n');
}

/** A declaration up to where its body or its value begins. */
function signatureAt(lines: readonly string[], at: number): string {
  let signature = '';
  for (let line = at; line < lines.length && line < at + 12; line++) {
    signature += `${lines[line]}\n`;
    const open = (signature.match(/\(/g) ?? []).length - (signature.match(/\)/g) ?? []).length;
    if (open === 0 && /[{;,]\s*$/.test(lines[line] as string)) break;
  }
  return signature;
}

/** Whether a function has overloads, which are documented, right above it. */
function isImplementation(lines: readonly string[], at: number, name: string): boolean {
  const above = (lines[at - 1] ?? '').trim();
  if (!above.endsWith(';')) return false;
  for (let line = at - 1; line >= 0 && line > at - 12; line--) {
    if (/\*\//.test(lines[line] as string))
      return new RegExp(`\\b${name}\\b`).test(lines[line + 1] ?? '') && TOP.test(lines[at] as string);
  }
  return false;
}

/** The names that the public entries export, and those of classes from which these inherit. */
export function publicNames(entries: readonly DocumentedFile[], files: readonly DocumentedFile[]): Set<string> {
  const names = new Set<string>();
  for (const { text } of entries) {
    for (const [, list = ''] of text.matchAll(/export (?:type )?\{([^}]*)\} from '\.[^']*'/g)) {
      for (const item of list.split(',')) names.add(item.trim().replace(/^type /, ''));
    }
  }
  for (const { text } of files) {
    for (const [, derived = '', base = ''] of text.matchAll(/class (\w+)(?:<[^{]*?>)? extends (\w+)/g)) {
      if (names.has(derived)) names.add(base);
    }
  }
  names.delete('');
  return names;
}

async function read(names: readonly string[]): Promise<DocumentedFile[]> {
  return Promise.all(names.map(async (name) => ({ name, text: await readFile(path.join(root, name), 'utf8') })));
}

const root = fileURLToPath(new URL('../', import.meta.url));
const ENTRIES = ['index.ts', 'mpsc/index.ts', 'broadcast/index.ts', 'watch/index.ts', 'port/index.ts'];
/** Files that are entries themselves: all that they export is public. */
const WHOLE = ['src/channels/oneshot.ts', 'src/channels/stream/node.ts'];

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const files = await read((await glob(['src/channels/**/*.ts', 'src/core/*.ts'], { cwd: root })).sort());
  const names = publicNames(await read(ENTRIES.map((entry) => `src/channels/${entry}`)), files);
  const whole = files.filter(({ name }) => WHOLE.includes(name));
  const others = files.filter(({ name }) => !WHOLE.includes(name) && !name.endsWith('/index.ts'));
  const faults = [...findDocFaults(whole, () => true), ...findDocFaults(others, (name) => names.has(name))];
  for (const fault of faults) process.stderr.write(`${fault}\n`);
  process.stdout.write(`doc comments of the channels: ${names.size} symbols, ${faults.length} faults\n`);
  if (faults.length > 0) process.exitCode = 1;
}
