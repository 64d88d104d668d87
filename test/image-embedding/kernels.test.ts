import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { Kernels, loadKernels } from '../../src/image-embedding/kernels/kernels.js';
import { linux, testNeeding } from '../support/needs.js';

beforeAll(loadKernels);

const run = promisify(execFile);
const module = new URL('../../dist/image-embedding/kernels/kernels.js', import.meta.url).href;
const program = `
  const { Kernels, loadKernels } = await import(${JSON.stringify(module)});
  try {
    await loadKernels();
    new Kernels().grow(1e6);
    console.log('ran');
  } catch ({ code, message }) {
    console.log(code, message);
  }
`;

/** What the program says with flags of Node's, in so much address space (KB). */
async function outcome(flags: readonly string[], addressSpace = 'unlimited'): Promise<string> {
  const node = [process.execPath, ...flags, '--input-type=module', '-e', program];
  const { stdout } = await run('sh', ['-c', `ulimit -v ${addressSpace} && exec "$@"`, 'sh', ...node]);
  return stdout.trim();
}

describe('Kernels', () => {
  it('.grow() keeps what the memory holds, and never shrinks it', () => {
    const kernels = new Kernels();
    kernels.bytes.set([1, 2, 3], 65_533);
    kernels.grow(200_000);
    expect(kernels.bytes.length).toBeGreaterThanOrEqual(200_000);
    expect([...kernels.bytes.subarray(65_533, 65_537)]).toEqual([1, 2, 3, 0]);
    const { bytes } = kernels;
    kernels.grow(10);
    expect(kernels.bytes).toBe(bytes);
  });

  testNeeding(linux)('says what helps where WebAssembly does not start', async () => {
    expect(await outcome([])).toBe('ran');
    expect(await outcome(['--jitless'])).toMatch(/^ERR_MODEL_LOAD .*--jitless/);
    expect(await outcome([], '6000000')).toMatch(/^ERR_MODEL_LOAD .*--disable-wasm-trap-handler/);
    expect(await outcome(['--disable-wasm-trap-handler'], '6000000')).toBe('ran');
  });
});
