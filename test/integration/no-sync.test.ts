import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { glob } from 'tinyglobby';
import { expect, test } from 'vitest';

// Files of the kernel, read once: the limits of the control group when the first pool is made, and the terminal before the first fork, which is
// synchronous itself. And the first message of a child to its parent.
const ALLOWED = new Set(['pool/machine.ts', 'worker/executor/process-state.ts', 'worker/host/process-child.ts']);

test('no source file calls a synchronous file or process function', async () => {
  const root = fileURLToPath(new URL('../../src/', import.meta.url));
  const found: string[] = [];
  for (const name of await glob('**/*.ts', { cwd: root })) {
    if (ALLOWED.has(name)) continue;
    const text = await readFile(path.join(root, name), 'utf8');
    const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
    for (const [call] of code.matchAll(/\b\w+Sync\(/g)) found.push(`${name}: ${call}`);
  }
  expect(found).toEqual([]);
});
