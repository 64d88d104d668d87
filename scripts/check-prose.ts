/**
 * Checks the prose of guides and sources. Run by `npm run layers`.
 *
 * Rules: a line of a Markdown page has at most 120 characters, apart from table rows and lines that consist of a link; pages, examples and sources
 * are free of the phrases below, apart from code spans.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { glob } from 'tinyglobby';

const MAX_LINE = 120;

/** Phrases that hide the subject of a sentence, or that are not words of the field, each with its remedy. */
const PHRASES: readonly (readonly [phrase: RegExp, remedy: string])[] = [
  [/\b(?:whoever|nobody|somebody|anybody|those who)\b/i, 'name the subject'],
  [/(?:^|[.:?!*] |\/\/ |\| )(?:What is|Where there is)\b/, 'name the subject'],
  [/\bdoors?\b/i, 'say call, check or admission'],
  [/\bsecond chances?\b/i, 'say retry'],
  [/\bsettlements?\b/i, 'say outcome'],
  [/\bturning points?\b/i, 'say event'],
  [/\b(?:by turns|in company)\b/i, 'say in turn, or beside others'],
];

export interface ProseFile {
  /** The path below the root, with forward slashes. */
  readonly name: string;
  readonly text: string;
}

/** The faults in the prose of some files, one line each. */
export function findProseFaults(files: readonly ProseFile[]): string[] {
  return files.flatMap(({ name, text }) => {
    const isPage = name.endsWith('.md');
    return text.split('\n').flatMap((line, index) => {
      const where = `${name}:${index + 1}`;
      const faults: string[] = [];
      if (isPage && line.length > MAX_LINE && !isTableRow(line) && !isLink(line)) {
        faults.push(`${where}: ${line.length} characters, at most ${MAX_LINE}`);
      }
      const prose = line.replace(/`[^`]*`/g, '');
      for (const [phrase, remedy] of PHRASES) {
        const found = phrase.exec(prose)?.[0];
        if (found !== undefined) faults.push(`${where}: "${found.trim()}": ${remedy}`);
      }
      return faults;
    });
  });
}

function isTableRow(line: string): boolean {
  return /^\s*\|/.test(line);
}

/** Whether a line is one link, or one word such as an address, that can't be broken. */
function isLink(line: string): boolean {
  return /^\s*(?:[-*] )?(?:!?\[[^\]]*\]\([^)]*\)|\S+)[.,;:]?$/.test(line);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const root = fileURLToPath(new URL('../', import.meta.url));
  const patterns = ['*.md', 'docs/**/*.md', 'examples/*', 'bench/**/*.md', 'models/**/*.md', 'src/**/*.ts'];
  const names = await glob([...patterns, '!**/node_modules', '!docs/api/out', '!docs/api/media'], { cwd: root });
  const files = await Promise.all(
    names.sort().map(async (name) => ({ name, text: await readFile(path.join(root, name), 'utf8') })),
  );
  const faults = findProseFaults(files);
  for (const fault of faults) process.stderr.write(`${fault}\n`);
  process.stdout.write(`prose: ${files.length} files, ${faults.length} faults\n`);
  if (faults.length > 0) process.exitCode = 1;
}
