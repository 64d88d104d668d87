import path from 'node:path';
import { expect, test } from 'vitest';
import { PHOTOS, runCli } from './cli-process.js';

/** Something that a worker loads, which prints to its standard output. */
const noise = `if (process.argv[1]?.includes('process-child')) { console.log('noise'); (await import('node:fs')).writeSync(1, 'more noise\\n'); }`;
const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(noise)}` };

test('what a worker prints is not among the records of millrace embed, nor in the JSON of inspect', async () => {
  const embedded = await runCli(['embed', path.join(PHOTOS, 'cat-1.jpg'), '--out', '-'], { env });
  const records = embedded.stdout.trim().split('\n');
  expect(records.map((line) => JSON.parse(line).dim)).toEqual([256]);
  expect(embedded.stderr).toContain('noise\n');
  expect(embedded.stderr).toContain('more noise\n');
  const inspected = await runCli(['inspect', 'default', '--json'], { env });
  expect(JSON.parse(inspected.stdout)).toBeTypeOf('object');
});
