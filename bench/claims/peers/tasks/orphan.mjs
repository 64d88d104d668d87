// Starts a worker of a contender that computes for a minute, and prints its pid. Its parent then kills this process.
const [contender] = process.argv.slice(2);
const url = (name) => new URL(name, import.meta.url);

if (contender === 'millrace') {
  const { operation, spawnWorker } = await import('../../../../dist/worker/index.js');
  const operations = { where: operation(), spin: operation() };
  const worker = spawnWorker({ operations, module: url('./millrace-model.mjs') });
  console.log((await worker.call('where', null)).pid);
  void worker.call('spin', 60_000);
} else if (contender === 'tinypool') {
  const { Tinypool } = await import('tinypool');
  const pool = new Tinypool({
    filename: url('./tasks.mjs').href,
    runtime: 'child_process',
    minThreads: 1,
    maxThreads: 1,
  });
  console.log((await pool.run(null, { name: 'where' })).pid);
  void pool.run(60_000, { name: 'spin' });
} else {
  const { default: workerpool } = await import('workerpool');
  const { fileURLToPath } = await import('node:url');
  const file = fileURLToPath(url('./workerpool-tasks.mjs'));
  const pool = workerpool.pool(file, { maxWorkers: 1, workerType: 'process' });
  console.log((await pool.exec('where', [])).pid);
  void pool.exec('spin', [60_000]);
}
