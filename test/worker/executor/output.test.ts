import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const run = promisify(execFile);
const fixture = fileURLToPath(new URL('../fixtures/printing.mjs', import.meta.url));
const lines = (text: string): string[] => text.trim().split('\n').filter(Boolean).sort();

for (const host of ['process', 'thread'] as const) {
  const printed = host === 'process' ? ['console.log', 'descriptor 1'] : ['console.log'];

  test(`what a worker prints in host ${host} is not among its parent's output`, async () => {
    for (const args of [[host], [host, 'inherit']]) {
      const { stdout, stderr } = await run(process.execPath, [fixture, ...args]);
      expect(stdout).toBe('output\n');
      expect(lines(stderr)).toEqual(['console.error', ...printed]);
    }
  });

  test(`stdio: 'split' keeps the streams of a worker in host ${host} apart, 'ignore' drops both`, async () => {
    const split = await run(process.execPath, [fixture, host, 'split']);
    expect([lines(split.stdout), split.stderr]).toEqual([[...printed, 'output'], 'console.error\n']);
    expect(await run(process.execPath, [fixture, host, 'ignore'])).toEqual({ stdout: 'output\n', stderr: '' });
  });
}

test('many threads that print cause no warning of too many listeners', async () => {
  const script = `
    import { operation, spawnWorker } from ${JSON.stringify(new URL('../../../dist/worker/index.js', import.meta.url))};
    const module = ${JSON.stringify(new URL('../fixtures/printing-model.mjs', import.meta.url))};
    const workers = Array.from({ length: 12 }, () => spawnWorker({ host: 'thread', operations: { echo: operation() }, module }));
    await Promise.all(workers.map((worker) => worker.call('echo', 1)));
    await Promise.all(workers.map((worker) => worker.close()));`;
  const { stdout, stderr } = await run(process.execPath, ['--input-type=module', '--eval', script]);
  expect(stdout).toBe('');
  expect(lines(stderr)).toEqual([...Array(12).fill('console.error'), ...Array(12).fill('console.log')]);
});
