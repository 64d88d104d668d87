import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const module = new URL('../../../dist/image-embedding/decode/preprocessor.js', import.meta.url).href;

/** Lets go of 60 pictures of a megabyte each, and says how many megabytes of them are still there. */
const program = `
  const { PixelGarbage } = await import(${JSON.stringify(module)});
  const garbage = PixelGarbage.start();
  const before = process.memoryUsage().arrayBuffers;
  for (let count = 0; count < 60; count++) {
    const pixels = new Uint8Array(1_000_000);
    garbage?.add(pixels.length);
    await new Promise((resolve) => setImmediate(resolve));
  }
  console.log(garbage !== undefined, (process.memoryUsage().arrayBuffers - before) / 1e6);
`;

async function run(...flags: string[]): Promise<[string, number]> {
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, '--input-type=module', '-e', program]);
  const [isThere = '', left = ''] = stdout.trim().split(' ');
  return [isThere, Number(left)];
}

it('PixelGarbage.add() has pixels collected soon, in a process that was started for it', async () => {
  const [isThere, left] = await run('--expose-gc', '--heap-growing-percent=400');
  expect(isThere).toBe('true');
  expect(left).toBeLessThan(5);
  const [isThereToo, leftAlone] = await run('--heap-growing-percent=400');
  expect(isThereToo).toBe('false');
  expect(leftAlone).toBeGreaterThan(10);
});
