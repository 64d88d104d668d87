/**
 * Prints the source files in which one warm `embedImage` runs code, in the caller and in its worker process, by V8's precise coverage.
 *
 *     npm run trace                     this checkout
 *     npm run trace -- <folder>         another checkout, built and with its packages installed
 *     npm run trace -- --check          fails when there are more than the limits
 *
 * Left out are node_modules and the work itself: decode, kernels and inference of the image layer.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { Session } from 'node:inspector';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const WARM_UP_CALLS = 20;
const TRACED_CALLS = 3;
const LIMITS = { caller: 40, worker: 35, both: 60 };

const here = fileURLToPath(new URL('.', import.meta.url));
const [given, ...flags] = process.argv.slice(2).filter((argument) => argument !== '--check');
const isCheck = process.argv.includes('--check');
if (flags.length > 0) throw new Error(`Cannot trace a request: unknown arguments ${flags.join(' ')}`);
const root = path.resolve(given ?? path.join(here, '..'));
const dist = path.join(root, 'dist');

const folder = await mkdtemp(path.join(tmpdir(), 'millrace-trace-'));
const out = path.join(folder, 'worker');
try {
  const { createImageEmbeddingPool } = await import(pathToFileURL(path.join(dist, 'image-embedding/index.js')).href);
  const pool = createImageEmbeddingPool({
    workers: 1,
    spareHosts: 0,
    env: { ...process.env, MILLRACE_TRACE_OUT: out },
    execArgv: ['--import', pathToFileURL(path.join(here, 'trace-request/child.mjs')).href],
  });
  const photo = path.join(root, 'examples/photos/cat-1.jpg');
  for (let call = 0; call < WARM_UP_CALLS; call++) await pool.embedImage(photo);
  const pid = Number(await readFile(`${out}.pid`, 'utf8'));

  const session = new Session();
  session.connect();
  const post = (method, params) =>
    new Promise((resolve, reject) =>
      session.post(method, params, (error, answer) => (error ? reject(error) : resolve(answer))),
    );
  await post('Profiler.enable');
  await post('Profiler.startPreciseCoverage', { callCount: true, detailed: false });

  // A timer may fire beside the call: the fewest files of several calls are those of the call.
  let caller;
  let worker;
  let both;
  for (let call = 0; call < TRACED_CALLS; call++) {
    await ask(pid, 2 * call + 1);
    await post('Profiler.takePreciseCoverage');
    await pool.embedImage(photo);
    const inCaller = filesOf((await post('Profiler.takePreciseCoverage')).result);
    const inWorker = filesOf(await ask(pid, 2 * call + 2));
    const all = new Set([...inCaller, ...inWorker]);
    if (both === undefined || all.size < both.size) [caller, worker, both] = [inCaller, inWorker, all];
  }
  await pool.close();

  for (const [title, files] of [
    ['caller', caller],
    ['worker', worker],
  ]) {
    console.log(`${title}: ${files.length} files (at most ${LIMITS[title]})`);
    for (const file of files) console.log(`  ${file}`);
  }
  console.log(`one warm embedImage runs code in ${both.size} different files (at most ${LIMITS.both})`);
  const isOver = caller.length > LIMITS.caller || worker.length > LIMITS.worker || both.size > LIMITS.both;
  if (isCheck && isOver) process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}

/** Has the worker write down what it ran since it was last asked. */
async function ask(pid, count) {
  process.kill(pid, 'SIGUSR2');
  const file = `${out}.${count}`;
  for (const end = Date.now() + 20_000; !existsSync(file); await new Promise((resolve) => setTimeout(resolve, 10))) {
    if (Date.now() > end) throw new Error(`Cannot trace a request: worker ${pid} wrote no coverage within 20 s`);
  }
  return JSON.parse(await readFile(file, 'utf8'));
}

/** The files of Millrace in which a function ran, below `dist`. */
function filesOf(scripts) {
  const prefix = pathToFileURL(`${dist}/`).href;
  const files = new Set();
  for (const { url, functions } of scripts) {
    if (!url.startsWith(prefix) || !functions.some(({ ranges }) => ranges.some((range) => range.count > 0))) continue;
    const file = decodeURIComponent(url.slice(prefix.length));
    if (!/^image-embedding\/(decode|kernels|inference)\//.test(file)) files.add(file);
  }
  return [...files].sort();
}
