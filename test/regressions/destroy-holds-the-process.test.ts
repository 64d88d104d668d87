import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';

const worker = new URL('../../dist/worker/index.js', import.meta.url).href;
const model = new URL('../integration/fixtures/stalling-model.mjs', import.meta.url).href;

describe.each(['process', 'thread'])('WorkerHandle.destroy() of an idle worker in a %s', (host) => {
  test.each(['destroy', 'close'])('%s() holds the process until it resolves', async (end) => {
    const code = `
      import { operation, spawnWorker } from ${JSON.stringify(worker)};
      const operations = { stall: operation() };
      const handle = spawnWorker({ host: '${host}', operations, module: ${JSON.stringify(model)} });
      await handle.call('stall', 0);
      await handle.${end}();
      console.log('resolved');`;
    const args = ['--input-type=module', '--eval', code];
    const { stdout } = await promisify(execFile)(process.execPath, args, {
      cwd: fileURLToPath(new URL('.', import.meta.url)),
    });
    expect(stdout).toBe('resolved\n');
  });
});
