/**
 * Makes a release: `npm run release -- <version | major | minor | patch> [--dry-run]`.
 *
 * Sets the version wherever it stands, dates the section of the changelog, commits and tags. It publishes nothing: the last line is the command for that,
 * which a CI system with an identity runs, so that the package gets a provenance statement. `--dry-run` says what would change, and changes nothing.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** A file that a release changes, before and after. */
export interface Change {
  readonly file: string;
  readonly before: string;
  readonly after: string;
}

/** Where the version stands beside the changelog. Each pattern has the text before and after it. */
const PLACES: readonly (readonly [file: string, pattern: RegExp])[] = [
  ['package.json', /^( {2}"version": ")[^"]+(",)$/m],
  ['package-lock.json', /^( {2}"version": ")[^"]+(",)$/m],
  ['package-lock.json', /^( {6}"version": ")[^"]+(",)$/m],
  ['src/otel/names.ts', /^(export const VERSION = ')[^']+(';)$/m],
  ['CITATION.cff', /^(version: )\S+()$/m],
];

/** The version that a step leads to. @throws TypeError when it is none, or not above the present one. */
export function nextVersion(present: string, step: string): string {
  const [major = 0, minor = 0, patch = 0] = present.split('.').map(Number);
  const steps: Readonly<Record<string, string>> = {
    major: `${major + 1}.0.0`,
    minor: `${major}.${minor + 1}.0`,
    patch: `${major}.${minor}.${patch + 1}`,
  };
  const next = steps[step] ?? step;
  if (!/^\d+\.\d+\.\d+$/.test(next))
    throw new TypeError(`Cannot release: '${step}' is no version, nor major, minor or patch`);
  const [a, b] = [present, next].map((each) => each.split('.').map(Number)) as [number[], number[]];
  const order = a.map((part, index) => (b[index] as number) - part).find((difference) => difference !== 0) ?? 0;
  if (order < 0) throw new TypeError(`Cannot release ${next}: the package is at ${present} already`);
  return next;
}

/** What a release changes. @throws Error when the changelog has no section for it, or a file no version. */
export function planRelease(version: string, day: string, read: (file: string) => string): Change[] {
  const texts = new Map<string, string>();
  const textOf = (file: string): string => texts.get(file) ?? read(file);
  for (const [file, pattern] of PLACES) {
    const text = textOf(file);
    if (!pattern.test(text)) throw new Error(`Cannot release: ${file} has no version where it is expected`);
    texts.set(file, text.replace(pattern, `$1${version}$2`));
  }
  const changelog = textOf('CHANGELOG.md');
  const heading = `## ${version} (unreleased)`;
  if (!changelog.includes(heading)) throw new Error(`Cannot release: CHANGELOG.md has no section '${heading}'`);
  texts.set('CHANGELOG.md', changelog.replace(heading, `## ${version} (${day})`));
  return [...texts]
    .map(([file, after]) => ({ file, before: read(file), after }))
    .filter(({ before, after }) => before !== after);
}

function main(args: readonly string[]): void {
  const root = fileURLToPath(new URL('../', import.meta.url));
  const git = (...rest: string[]): string => execFileSync('git', rest, { cwd: root, encoding: 'utf8' }).trim();
  const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');
  const isDryRun = args.includes('--dry-run');
  const [step] = args.filter((each) => !each.startsWith('--'));
  if (step === undefined) throw new TypeError('Cannot release: give a version, or major, minor or patch');
  const { version: present, name } = JSON.parse(read('package.json')) as { version: string; name: string };
  const version = nextVersion(present, step);
  const changes = planRelease(version, new Date().toISOString().slice(0, 10), read);
  if (!isDryRun) {
    if (git('status', '--porcelain') !== '')
      throw new Error('Cannot release: there are changes that are not committed');
    if (git('rev-parse', '--abbrev-ref', 'HEAD') !== 'main')
      throw new Error('Cannot release: this is not the branch main');
    if (git('tag', '--list', `v${version}`) !== '')
      throw new Error(`Cannot release: there is a tag v${version} already`);
    for (const { file, after } of changes) writeFileSync(path.join(root, file), after);
    git('commit', '--all', '--message', `release: ${version}`);
    git('tag', '--annotate', `v${version}`, '--message', `${name} ${version}`);
  }
  process.stdout.write(`${isDryRun ? 'would change' : 'changed'} ${changes.map(({ file }) => file).join(', ')}\n`);
  process.stdout.write(`${isDryRun ? 'would tag' : 'tagged'} v${version}\n`);
  process.stdout.write(
    'next: git push --follow-tags, then in CI: npm run ok && npm publish --provenance --access public\n',
  );
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  try {
    main(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}
