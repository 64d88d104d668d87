import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll } from 'vitest';

/**
 * A folder that exists while the tests of a file run.
 *
 * @returns A function that resolves names in it.
 */
export function tempFolder(name: string): (...names: string[]) => string {
  let folder = '';
  beforeAll(async () => {
    folder = await realpath(await mkdtemp(path.join(tmpdir(), `millrace ${name} `)));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));
  return (...names) => path.join(folder, ...names);
}
