import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { nextVersion, planRelease } from '../../scripts/release.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const FILES: Readonly<Record<string, string>> = {
  'package.json': '{\n  "name": "millrace",\n  "version": "0.2.0",\n  "x": { "version": "9.9.9" }\n}\n',
  'package-lock.json':
    '{\n  "name": "millrace",\n  "version": "0.2.0",\n  "packages": {\n    "": {\n      "version": "0.2.0",\n      "a": 1\n    },\n    "node_modules/b": {\n      "version": "3.0.0",\n    }\n',
  'src/otel/names.ts': "export const VERSION = '0.2.0';\n",
  'CITATION.cff': 'version: 0.2.0\n',
  'CHANGELOG.md': '# Changelog\n\n## 0.3.0 (unreleased)\n\n- x\n\n## 0.2.0 (2026-01-01)\n',
};
const read = (file: string): string => FILES[file] as string;

describe('nextVersion()', () => {
  test.each([
    ['patch', '1.2.4'],
    ['minor', '1.3.0'],
    ['major', '2.0.0'],
    ['1.2.3', '1.2.3'],
    ['1.10.0', '1.10.0'],
  ])('after 1.2.3, %s is %s', (step, next) => {
    expect(nextVersion('1.2.3', step)).toBe(next);
  });

  test.each(['1.2.2', '0.9.9', 'next', '1.2', ''])('refuses %j', (step) => {
    expect(() => nextVersion('1.2.3', step)).toThrow(/^Cannot release/);
  });
});

describe('planRelease()', () => {
  test('sets the version wherever it stands, and nowhere else', () => {
    const changes = new Map(planRelease('0.3.0', '2026-12-01', read).map(({ file, after }) => [file, after]));
    expect([...changes.keys()]).toEqual(Object.keys(FILES));
    expect(changes.get('package.json')).toContain('"version": "9.9.9"');
    expect(changes.get('package-lock.json')?.match(/0\.3\.0/g)).toHaveLength(2);
    expect(changes.get('package-lock.json')).toContain('"version": "3.0.0"');
    expect(changes.get('CHANGELOG.md')).toContain('## 0.3.0 (2026-12-01)\n\n- x');
    for (const text of changes.values()) expect(text).toContain('0.3.0');
  });

  test('refuses a version that the changelog does not tell of, and a file without one', () => {
    expect(() => planRelease('0.4.0', '2026-12-01', read)).toThrow("no section '## 0.4.0 (unreleased)'");
    expect(() => planRelease('0.3.0', '2026-12-01', () => '')).toThrow('package.json has no version');
  });
});

test('a dry run of the next release says what it would change, and changes nothing', async () => {
  const { version } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as { version: string };
  const changelog = await readFile(path.join(root, 'CHANGELOG.md'), 'utf8');
  const [, next = version] = /^## (\S+) \(unreleased\)$/m.exec(changelog) ?? [];
  const tsx = path.join(root, 'node_modules', 'tsx', 'dist', 'cli.mjs');
  const script = path.join(root, 'scripts', 'release.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [tsx, script, next, '--dry-run'], { cwd: root });
  expect(stdout).toContain('CHANGELOG.md\n');
  expect(stdout).toContain(`would tag v${next}\n`);
  expect(await readFile(path.join(root, 'CHANGELOG.md'), 'utf8')).toBe(changelog);
});
