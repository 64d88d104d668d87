import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { Agent, get } from 'node:http';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { startCli } from '../integration/cli-process.js';
import { tempFolder } from '../support/temp-folder.js';
import { until } from '../support/until.js';
import { largeBody } from './large-bodies.js';

const at = tempFolder('large bodies');
const MS = 30_000;
const CLIENTS = fileURLToPath(new URL('large-body-clients.mjs', import.meta.url));

// Server, clients and the one who asks for the health are three processes, as they are elsewhere.
test('health is answered in 50 ms while eight clients post JSON of 21 MB for half a minute', async () => {
  await writeFile(at('body.json'), await largeBody(21_000_000));
  const { said, child, ended } = startCli(['serve', '--port', '0', '--quiet']);
  const url = await until('the address', () => /http:\/\/[\d.]+:\d+/.exec(said())?.[0]);
  const agent = new Agent({ keepAlive: true });
  const health = (): Promise<number> => {
    const started = performance.now();
    return new Promise((resolve, reject) => {
      get(`${url}/health`, { agent }, (answer) =>
        answer.resume().on('end', () => resolve(performance.now() - started)),
      ).on('error', reject);
    });
  };
  let isOver = false;
  const args = [CLIENTS, `${url}/v1/embeddings`, at('body.json'), '8', String(MS)];
  const clients = promisify(execFile)(process.execPath, args).finally(() => {
    isOver = true;
  });
  const times: number[] = [];
  while (!isOver) {
    times.push(await health());
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const statuses = JSON.parse((await clients).stdout) as Record<string, number>;
  agent.destroy();
  child.kill('SIGTERM');
  expect((await ended).code).toBe(0);
  times.sort((a, b) => a - b);
  const p99 = times[Math.floor(times.length * 0.99)] ?? Number.POSITIVE_INFINITY;
  console.log({ statuses, asked: times.length, p50: times[times.length >> 1], p99, longest: times.at(-1) });
  expect(Object.keys(statuses).every((status) => status === '200' || status === '429')).toBe(true);
  expect(statuses[200]).toBeGreaterThan(8);
  expect(p99).toBeLessThan(50);
});
