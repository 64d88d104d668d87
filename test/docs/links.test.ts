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
