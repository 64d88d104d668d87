import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const example = fileURLToPath(new URL('../../examples/custom-worker.ts', import.meta.url));

test('examples/custom-worker.ts serves urgent requests first, and ends', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', example]);
  expect(stdout.split('\n')).toEqual(['a b C', 'urgent c, routine A, routine B', '']);
});

test('examples/custom-worker.ts is under 60 lines', async () => {
  expect((await readFile(example, 'utf8')).trimEnd().split('\n').length).toBeLessThan(60);
});
