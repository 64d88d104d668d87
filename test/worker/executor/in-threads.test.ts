import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { linux, testNeeding } from '../../support/needs.js';

const run = promisify(execFile);
const fixture = fileURLToPath(new URL('../fixtures/in-threads.mjs', import.meta.url));

for (const ending of ['close', 'destroy', 'end']) {
  testNeeding(linux)(`process workers of a thread leave no zombies when they ${ending}`, async () => {
    const { stdout } = await run(process.execPath, [fixture, ending]);
    expect(stdout).toBe('left nothing\n');
  });
}

for (const ending of ['exit', 'terminate']) {
  testNeeding(linux)(`process workers of a thread that is cut off by ${ending} do not go on`, async () => {
    const { stdout } = await run(process.execPath, [fixture, ending]);
    // Nothing collects them any more while the process lives.
    expect(stdout).toMatch(/^left (nothing|Z+)\n$/);
  });
}
