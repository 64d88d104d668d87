// Starts a worker of a contender that computes for a minute, and prints where it is. Its parent then kills this process.
const [contender] = process.argv.slice(2);
const url = (name) => new URL(name, import.meta.url);
const print = (where) => console.log(JSON.stringify(where));

if (contender === 'millrace') {
  const { operation, spawnWorker } = await import('../../../../dist/worker/index.js');
  const operations = { where: operation(), spin: operation() };
  const worker = spawnWorker({ operations, module: url('./millrace-model.mjs') });
  print(await worker.call('where', null));
  void worker.call('spin', 60_000);
} else if (contender === 'tinypool') {
  const { Tinypool } = await import('tinypool');
  const pool = new Tinypool({
    filename: url('./tasks.mjs').href,
    runtime: 'child_process',
    minThreads: 1,
    maxThreads: 1,
  });
  print(await pool.run(null, { name: 'where' }));
  void pool.run(60_000, { name: 'spin' });
} else if (contender === 'piscina') {
  const { Piscina } = await import('piscina');
  const pool = new Piscina({ filename: url('./tasks.mjs').href, minThreads: 1, maxThreads: 1 });
  print(await pool.run(null, { name: 'where' }));
  void pool.run(60_000, { name: 'spin' });
} else if (contender === 'p-queue') {
  const { default: PQueue } = await import('p-queue');
  const { spin, where } = await import('./tasks.mjs');
  const queue = new PQueue();
  print(await queue.add(where));
  void queue.add(() => spin(60_000));
} else {
  const { default: workerpool } = await import('workerpool');
  const { fileURLToPath } = await import('node:url');
  const file = fileURLToPath(url('./workerpool-tasks.mjs'));
  const pool = workerpool.pool(file, { maxWorkers: 1, workerType: 'process' });
  print(await pool.exec('where', []));
  void pool.exec('spin', [60_000]);
}
