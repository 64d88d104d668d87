/** A user id without an entry, or an empty environment: there is no home, and what needs none has to work. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { writeTestModel } from '../../scripts/make-test-models.js';
import { program, root, testNeeding } from '../support/needs.js';

const run = promisify(execFile);
const index = new URL('../../dist/image-embedding/index.js', import.meta.url).href;
const photo = fileURLToPath(new URL('../../examples/photos/cat-1.jpg', import.meta.url));

let below: string;
let model: string;

beforeAll(async () => {
  below = await mkdtemp(path.join(os.tmpdir(), 'millrace-no-home-'));
  model = await writeTestModel('tiny-clip', below);
});
afterAll(() => rm(below, { recursive: true, force: true }));

const script = (options: object): string => `
  const { createImageEmbeddingPool } = await import(${JSON.stringify(index)});
  const pool = createImageEmbeddingPool(${JSON.stringify({ workers: 1, ...options })});
  try {
    console.log((await pool.embedImage(${JSON.stringify(photo)})).length);
  } catch (error) {
    console.log(error.code, error.message);
  }
  await pool.close();`;

/** Runs a script in an environment with nothing but the path. */
async function without(options: object, prefix: readonly string[] = []): Promise<{ stdout: string; stderr: string }> {
  const [file = '', ...rest] = [...prefix, process.execPath];
  const env = { PATH: process.env.PATH, HOME: '' };
  return run(file, [...rest, '--input-type=module', '-e', script(options)], { env });
}

describe('createImageEmbeddingPool() without a home', () => {
  test('embeds with the built-in model, and says nothing of it', async () => {
    expect(await without({})).toEqual({ stdout: '256\n', stderr: '' });
  });

  test('loads a model as it is that would be prepared, with a warning that says what to set', async () => {
    const { stdout, stderr } = await without({ model, prepare: { minBytes: 1 } });
    expect(stdout).toBe('24\n');
    expect(stderr).toContain('could not be prepared');
    expect(stderr).toContain('XDG_CACHE_HOME');
  });

  test('refuses a model of the hub, whose cache it has no place for, with what to set', async () => {
    const { stdout } = await without({ model: 'some/model' });
    expect(stdout).toContain('ERR_MODEL_DOWNLOAD');
    expect(stdout).toContain('HF_HOME');
  });

  testNeeding(root, program('setpriv'))('embeds as a user that the system does not know', async () => {
    const prefix = ['setpriv', '--reuid', '12345', '--clear-groups', 'env', '-u', 'HOME'];
    expect((await without({}, prefix)).stdout).toBe('256\n');
  });
});
