// Writes to an index and kills itself at the n-th call to the file system: before it, after it, or in the middle of a write.
// Prints each change that is durable, and with ~ each removal that is about to come. Arguments: folder, n, 'before' | 'after' | 'torn'.

import { writeSync } from 'node:fs';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import path from 'node:path';

const [folder, at, how] = process.argv.slice(2);
let calls = 0;
let isCounting = false;

const counted = (call, tear) =>
  async function (...args) {
    // The lock has tests of its own.
    if (!isCounting || String(args[0]).includes('write.lock')) return await call.apply(this, args);
    calls++;
    const isNow = calls === Number(at);
    if (isNow && how === 'before') process.kill(process.pid, 'SIGKILL');
    if (isNow && how === 'torn' && tear !== undefined) await tear.call(this, args);
    const result = await call.apply(this, args);
    if (isNow) process.kill(process.pid, 'SIGKILL');
    return result;
  };

const probe = await fs.open(import.meta.filename, 'r');
const handles = Object.getPrototypeOf(probe);
await probe.close();
const { write } = handles;
handles.write = counted(write, async function ([bytes, from, length, position]) {
  await write.call(this, bytes, from, Math.floor(length / 2), position);
  process.kill(process.pid, 'SIGKILL');
});
for (const name of ['truncate', 'datasync', 'writeFile']) handles[name] = counted(handles[name]);
for (const name of ['open', 'rename', 'rm', 'link']) fs[name] = counted(fs[name]);
syncBuiltinESMExports();

const dist = new URL('../../../dist/search/index.js', import.meta.url);
const { openIndex } = await import(dist);
const tell = (line) => writeSync(1, `${line}\n`);
const vector = (seed) => Float32Array.of(Math.cos(seed), Math.sin(seed), 1, seed / 1000);
const entry = (seed) => ({ path: `/p/${seed}.jpg`, size: seed, vector: vector(seed) });

isCounting = true;
const index = await openIndex(path.resolve(folder), { writable: true });
let next = 1 + Math.max(0, ...[...index.items()].map((item) => item.size));
for (let turn = 0; turn < 2; turn++) {
  const added = Array.from({ length: 5 }, () => next++);
  await index.add(added.map(entry));
  tell(`+ ${added.join(' ')}`);
  const gone = added[1];
  tell(`~ ${gone}`);
  await index.remove([`/p/${gone}.jpg`]);
  tell(`- ${gone}`);
  await index.compact();
}
await index.close();
tell(`done ${calls}`);
