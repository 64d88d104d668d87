import { expect, test } from 'vitest';
import { spawnTestWorker } from './spawn-test-worker.js';

test.each([
  ['thread', 0],
  ['process', 8_192],
] as const)(
  'TransferOptions.inputs moves an input to a %s where it can be moved',
  { timeout: 60_000 },
  async (host, left) => {
    const handle = spawnTestWorker({ host, transfer: { inputs: true } });
    const input = new Float32Array(8_192).fill(1);
    expect(await handle.call('length', input)).toBe(8_192);
    expect(input.length).toBe(left);
    await handle.close();
  },
);
