import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { glob } from 'tinyglobby';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const pages = await glob(
  ['*.md', 'docs/**/*.md', 'examples/*.md', 'bench/**/*.md', '!**/node_modules', '!docs/api/out'],
  {
    cwd: root,
  },
);
const read = (page: string) => readFile(path.join(root, page), 'utf8');
const withoutBlocks = (text: string) => text.replace(/^(`{3,}).*?^\1/gms, '');
const withoutCode = (text: string) => withoutBlocks(text).replace(/`[^`\n]*`/g, '');

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(text: string): string[] {
  const headings = withoutBlocks(text).matchAll(/^#+ (.*)$/gm);
  return [...headings].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

test('every link between the pages of the documentation leads somewhere', async () => {
  expect(pages.length).toBeGreaterThanOrEqual(15);
  const broken: string[] = [];
  let count = 0;
  for (const page of pages) {
    for (const [, target = ''] of withoutCode(await read(page)).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^(https?|mailto):/.test(target)) continue;
      count++;
      const [file = '', anchor] = target.split('#');
      const linked = file === '' ? page : path.join(path.dirname(page), file);
      const isThere = await stat(path.join(root, linked)).then(
        () => true,
        () => false,
      );
      if (!isThere) broken.push(`${page}: ${target}`);
      else if (anchor !== undefined && !anchorsOf(await read(linked)).includes(anchor))
        broken.push(`${page}: ${target}`);
    }
  }
  expect(broken).toEqual([]);
  expect(count).toBeGreaterThan(30);
});

test('the pages for contributors name files and folders that there are', async () => {
  const named: string[] = [];
  for (const page of ['ARCHITECTURE.md', 'CONTRIBUTING.md']) {
    const spans = withoutBlocks(await read(page)).matchAll(/`((?:[\w.-]+\/)+[\w.-]*|[\w-]+\.ts)`/g);
    named.push(...[...spans].map(([, span = '']) => span).filter((span) => !/^(dist|docs\/api\/out)\//.test(span)));
  }
  for (const [, label = ''] of (await read('docs/request.svg')).matchAll(/<text class="f"[^>]*>([^<]*)</g)) {
    let folder = '';
    for (const part of label.split(', ')) {
      // `a/b/c, d` are two files of one folder.
      named.push(part.includes('/') || part.endsWith('/') ? part : `${folder}/${part}`);
      folder = path.dirname(part);
    }
  }
  expect(named.length).toBeGreaterThan(40);
  const files = await glob(['**/*', '!**/node_modules', '!dist'], { cwd: root, onlyFiles: false, dot: true });
  const isThere = (name: string) =>
    files.some((file) => new RegExp(`(?:^|/)${name.replaceAll('.', '\\.')}(?:\\.ts)?/?$`).test(file));
  expect(named.filter((name) => !isThere(name.replace(/\/$/, '')))).toEqual([]);
});

test('every guide is in the README and in the API reference', async () => {
  const guides = pages.filter((page) => /^docs\/[^/]+\.md$/.test(page)).map((page) => path.basename(page));
  const readme = await read('README.md');
  const { projectDocuments } = JSON.parse(await read('docs/api/typedoc.json')) as { projectDocuments: string[] };
  expect(guides.filter((guide) => !readme.includes(`(docs/${guide})`))).toEqual([]);
  expect(projectDocuments.map((each) => path.basename(each)).sort()).toEqual(guides.sort());
});

test("the README's comparison is what the libraries did when they were asked", async () => {
  const rowsOf = (text: string) =>
    (text.match(/^\|.*\|$/gm) ?? []).map((row) => row.replace(/\s+/g, ' ').replace(/-{3,}/g, '---'));
  const asked = rowsOf((await read('bench/claims/README.md')).split('<!-- tables -->')[1] ?? '');
  const [, section = ''] = /^## Beside its peers\n(.*?)^## /ms.exec(await read('README.md')) ?? [];
  expect(asked.length).toBeGreaterThan(15);
  expect(rowsOf(section)).toEqual(asked);
});
