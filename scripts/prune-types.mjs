// Removes the declarations that no entry of the package leads to: nobody can import what they describe. Run by `npm run build`.
import { readdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));
const { exports } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));
const waiting = Object.values(exports).flatMap(({ types }) => types ?? []);
const reached = new Set();
for (const file of waiting) {
  const declarations = path.join(root, file);
  if (reached.has(declarations)) continue;
  reached.add(declarations);
  const text = await readFile(declarations, 'utf8');
  for (const [, imported] of text.matchAll(/(?:from |import |import\()'(\.[^']+)\.js'/g)) {
    waiting.push(path.relative(root, path.join(path.dirname(declarations), `${imported}.d.ts`)));
  }
}
const built = await readdir(path.join(root, 'dist'), { recursive: true });
const unreached = built.filter((name) => name.endsWith('.d.ts')).map((name) => path.join(root, 'dist', name));
const pruned = unreached.filter((file) => !reached.has(file));
await Promise.all(pruned.flatMap((file) => [rm(file), rm(`${file}.map`)]));
