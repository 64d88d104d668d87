import { expect, test } from 'vitest';
import { operation, spawnWorker } from '../../../src/worker/index.js';

const operations = {
  size: operation<string | Uint8Array, number>(),
  journal: operation<undefined, string[]>(),
};

function spawn(host: 'process' | 'thread') {
  return spawnWorker({ host, operations, module: new URL('../fixtures/announced-model.mjs', import.meta.url) });
}

test('ModelLifecycle.announce() is told of a call with a large input before the input is there, and of no other', async () => {
  const worker = spawn('process');
  try {
    expect(await worker.call('size', new Uint8Array(3_000_000))).toBe(3_000_000);
    const [first, ...others] = await worker.call('journal', undefined);
    expect(first).toBe('announced size');
    expect(others.sort()).toEqual(['arrived size', 'size 3000000']);
    expect(await worker.call('size', 'x'.repeat(65_536))).toBe(65_536);
    expect(await worker.call('journal', undefined)).toContain('announced size');
    await worker.call('size', new Uint8Array(65_535));
    expect(await worker.call('journal', undefined)).toEqual(['size 65535']);
  } finally {
    await worker.close();
  }
});

test('ModelLifecycle.announce() is told of a call that could not be sent, and that nothing more is to come of it', async () => {
  const worker = spawn('process');
  try {
    const input = Object.assign(new Uint8Array(100_000), { of: () => undefined });
    await expect(worker.call('size', new Proxy(input, {}))).rejects.toThrow();
    await worker.call('size', new Uint8Array(100_000));
    const journal = await worker.call('journal', undefined);
    expect(journal.filter((each) => each.startsWith('arrived'))).toHaveLength(
      journal.filter((each) => each.startsWith('announced')).length,
    );
  } finally {
    await worker.close();
  }
});

test('ModelLifecycle.announce() is not called in a thread, where an input comes whole', async () => {
  const worker = spawn('thread');
  try {
    await worker.call('size', new Uint8Array(3_000_000));
    expect(await worker.call('journal', undefined)).toEqual(['size 3000000']);
  } finally {
    await worker.close();
  }
});
