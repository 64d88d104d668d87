import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const run = promisify(execFile);
const fixture = fileURLToPath(new URL('./fixtures/contexts.mjs', import.meta.url));
const all = Array.from({ length: 12 }, (_, index) => `r${index}`)
  .sort()
  .join();

for (const kind of ['pool', 'worker', 'image']) {
  for (const host of ['process', 'thread', 'inline']) {
    test.concurrent(`diagnostics of a call run in its own async context, and nothing keeps that of the first caller: ${kind}, ${host}`, async () => {
      const { stdout } = await run(process.execPath, ['--expose-gc', fixture, host, kind]);
      expect(JSON.parse(stdout)).toEqual({ settle: kind === 'worker' ? '' : all, request: all, kept: false });
    });
  }
}
