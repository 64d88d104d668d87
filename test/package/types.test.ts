/**
 * The types as another project sees them: the packed tarball in the layout of pnpm, where a project reaches its own dependencies and not theirs, without
 * the optional packages, with declarations of its own and those of the library checked.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeNeeding, type Need } from '../support/needs.js';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));
const modules = path.join(root, 'node_modules');
let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'millrace-types-'));
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], { cwd: root });
  const tarball = (await readdir(folder)).find((name) => name.endsWith('.tgz')) as string;
  const store = path.join(folder, 'node_modules', '.pnpm', 'millrace@0.2.0', 'node_modules');
  await mkdir(store, { recursive: true });
  await run('tar', ['-xzf', path.join(folder, tarball), '-C', folder]);
  await rename(path.join(folder, 'package'), path.join(store, 'millrace'));
  await symlink(path.join(store, 'millrace'), path.join(folder, 'node_modules', 'millrace'), 'junction');
  const { dependencies } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));
  for (const name of Object.keys(dependencies)) {
    const link = path.join(store, name);
    await mkdir(path.dirname(link), { recursive: true });
    await symlink(path.join(modules, name), link, 'junction');
  }
  await writeFile(path.join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
}, 60_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What the compiler says of some files. */
async function compile(
  name: string,
  files: Readonly<Record<string, string>>,
  options: object = {},
  compiler = modules,
): Promise<string> {
  const names = Object.keys(files);
  for (const file of names) await writeFile(path.join(folder, file), files[file] as string);
  const config = path.join(folder, `tsconfig.${name}.json`);
  const compilerOptions = {
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    declaration: true,
    outDir: `out-${name}`,
    target: 'es2022',
    lib: ['es2023', 'esnext.disposable'],
    module: 'nodenext',
    types: ['node'],
    typeRoots: [path.relative(folder, path.join(modules, '@types'))],
    ...options,
  };
  await writeFile(config, JSON.stringify({ compilerOptions, files: names }));
  const tsc = path.join(compiler, 'typescript', 'bin', 'tsc');
  return await run(process.execPath, [tsc, '-p', config, '--pretty', 'false'], { cwd: folder }).then(
    ({ stdout }) => stdout,
    (error: { stdout: string; message: string }) => error.stdout || error.message,
  );
}

const EXPORTED = `
import { broadcast, createSelector, fromCallback, interval, JoinQueue, JoinSet, mpsc, Notify, OnceCell, oneshot, Semaphore, select, sleepUntil, TaskTracker, toRepeater, watch, withEnd } from 'millrace/channels';
import { createImageEmbeddingPool } from 'millrace/image-embedding';
import { createPool } from 'millrace/pool';
import { createBatcher, operation, spawnWorker } from 'millrace/worker';

export const [tx, rx] = mpsc.channel<number>(1);
export const [utx, urx] = mpsc.unboundedChannel<number>();
export const permit = tx.reserve();
export const owned = tx.reserveOwned();
export const weak = tx.downgrade();
export const [reply, answer] = oneshot.channel<number>();
export const [events, listener] = broadcast.channel<number>(1);
export const [state, watcher] = watch.channel(1);
export const many = listener.recvMany(3);
export const repeater = toRepeater(rx);
export const callbacks = fromCallback<string>(() => undefined);
export const selector = createSelector({ rx, end: withEnd(urx), late: sleepUntil(1) });
export const event = select({ rx, ticks: interval(5) });
export const kinds = [new JoinSet<number>(), new JoinQueue<number>(), new Notify(), new OnceCell<number>(), new Semaphore(1), new TaskTracker()];
export const operations = { tick: operation<void, number>(), upper: operation<string, string>(), count: operation.stream<number, number>() };
export const worker = spawnWorker({ operations, module: new URL('./model.js', import.meta.url) });
export const ticked = worker.call('tick');
export const pool = createPool();
export const model = pool.register('model', { operations, module: './model.js', coalesce: { upper: (text) => text.trim() } });
export const counted = model.call('count', 3);
export const images = createImageEmbeddingPool();
export const stream = images.embedImages(['a.jpg']);
export const batcher = createBatcher<number, number>({ maxBatch: 2, run: async (items) => [...items] });
for (const kind of [repeater, callbacks]) void kind.return();
`;

test('the declarations of a project that exports what the library gives can be written', async () => {
  expect(await compile('exported', { 'exported.ts': EXPORTED })).toBe('');
}, 60_000);

const least = path.join(root, 'test', 'package', 'typescript', 'node_modules');
const oldCompiler: Need = {
  name: 'npm ci in test/package/typescript',
  isMet: () => existsSync(path.join(least, 'typescript')),
};

describeNeeding(oldCompiler)('the least TypeScript that the README states', () => {
  test('compiles what the newest does', async () => {
    const { dependencies } = JSON.parse(await readFile(path.join(least, '..', 'package.json'), 'utf8'));
    const [, minor] = /^(\d+\.\d+)\./.exec(dependencies.typescript) ?? [];
    expect(await readFile(path.join(root, 'README.md'), 'utf8')).toContain(`TypeScript ${minor}`);
    expect(await compile('least', { 'least.ts': EXPORTED }, {}, least)).toBe('');
  }, 60_000);
});

const ENTRIES: [string, string][] = [
  ['millrace/channels', 'ERR_CHANNEL_FULL'],
  ['millrace/worker', 'ERR_WORKER_CRASHED'],
  ['millrace/pool', 'ERR_POOL_OVERLOADED'],
  ['millrace/image-embedding', 'ERR_IMAGE_CORRUPT'],
  ['millrace/channels/port', 'ERR_PORT_CLOSED'],
  ['millrace/search', 'ERR_INDEX_LOCKED'],
  ['millrace/serve', 'ERR_MISSING_PACKAGE'],
  ['millrace/remote', 'ERR_NO_HOST'],
  ['millrace/nats', 'ERR_BULK_STATE'],
  ['millrace', 'ERR_BREAKER_OPEN'],
];

test.each(ENTRIES)(
  '%s compiles alone, without the optional packages, and knows its errors by their codes',
  async (entry, code) => {
    const source = `
import { isMillraceError, type ErrorCode, type MillraceError } from '${entry}';
export function codeOf(error: unknown, known: MillraceError): ErrorCode | string {
  if (isMillraceError(error, '${code}')) {
    const exact: '${code}' = error.code;
    return exact;
  }
  // @ts-expect-error: no such code
  isMillraceError(error, '${code}S');
  if (isMillraceError(known, '${code}')) return known.code;
  if (isMillraceError(error)) return error.code;
  return known.message;
}
`;
    const name = entry.replaceAll('/', '-');
    expect(await compile(name, { [`${name}.ts`]: source })).toBe('');
  },
  60_000,
);

const REFUSED = `
import { mpsc } from 'millrace/channels';
import { createPool } from 'millrace/pool';
import { type OperationSender, operation, spawnWorker, type UnaryOperation, type WorkerHandle } from 'millrace/worker';

interface Base { readonly id: number }
interface Sub extends Base { readonly name: string }
declare const tx: mpsc.Sender<Sub>;
declare const rx: mpsc.Receiver<Sub>;
declare const sender: OperationSender<UnaryOperation<Sub, void>>;
// @ts-expect-error: a Base could be sent
tx satisfies mpsc.Sender<Base>;
// @ts-expect-error: a Base could be an input
sender satisfies OperationSender<UnaryOperation<Base, void>>;
export const received = rx satisfies mpsc.Receiver<Base>;

const operations = { embed: operation<string, number>(), tick: operation<void, number>(), any: operation<unknown, number>() };
const module = './model.js';
const model = { embed: () => 1, tick: () => 1, any: () => 1 };
// @ts-expect-error: no model
spawnWorker({ operations });
// @ts-expect-error: a model is for the inline host
spawnWorker({ operations, host: 'thread', model });
// @ts-expect-error: one of both
spawnWorker({ operations, host: 'inline', model, module });
export const worker = spawnWorker({ operations, host: 'inline', model });
export const other = spawnWorker({ operations, host: undefined, module, idleTimeoutMs: undefined, transfer: { inputs: undefined } });
export const ticks = [worker.call('tick'), worker.senders.tick.call(), worker.tryCall('tick'), worker.call('tick', undefined, { timeoutMs: 1 })];
// @ts-expect-error: an input is wanted
worker.call('embed');
// @ts-expect-error: anything may be one, and something has to
worker.call('any');
export function generic<K extends 'embed' | 'tick'>(on: WorkerHandle<typeof operations>, name: K, input: Parameters<typeof on.call<K>>[1]) {
  return on.call(name, input as never);
}
const pool = createPool({ name: undefined });
// @ts-expect-error: neither module nor load
pool.register('a', { operations });
// @ts-expect-error: both
pool.register('a', { operations, module, load: () => model });
export const registered = pool.register('a', { operations, load: () => model, coalesce: { embed: (text) => text.trim() }, breaker: { failures: undefined }, timeoutMs: undefined });
// @ts-expect-error: its input is a string
pool.register('b', { operations, module, coalesce: { embed: (text: number) => text } });
export function maybe(signal: AbortSignal | undefined, timeoutMs: number | undefined): unknown {
  return [registered.call('embed', 'a', { signal, timeoutMs }), pool.close({ timeoutMs }), registered.callDetailed('tick')];
}
`;

test('what fails at run time does not compile, and what runs does', async () => {
  expect(await compile('refused', { 'refused.ts': REFUSED })).toBe('');
  expect(await compile('bundler', { 'refused.ts': REFUSED }, { module: 'esnext', moduleResolution: 'bundler' })).toBe(
    '',
  );
}, 60_000);
