import { execFile } from 'node:child_process';
import { chmod, cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { operation, spawnWorker, startSpareHost, type WorkerLoadError } from '../../../src/worker/index.js';

const run = promisify(execFile);
const dist = fileURLToPath(new URL('../../../dist', import.meta.url));
const module = new URL('../fixtures/program-model.mjs', import.meta.url);
const operations = { env: operation<string, string | undefined>(), echo: operation<number, number>() };

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'millrace program '));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A program of a few lines of shell. */
async function program(name: string, text: string): Promise<string> {
  const file = path.join(folder, name);
  await writeFile(file, `#!/bin/sh\n${text}\n`);
  await chmod(file, 0o755);
  return file;
}

/** Runs lines in a process that looks like another program's, with a worker of host process at hand. */
async function runAs(disguise: string, lines: string): Promise<{ readonly stdout: string; readonly stderr: string }> {
  const script = `
    ${disguise}
    const { operation, spawnWorker } = await import(${JSON.stringify(`${dist}/worker/index.js`)});
    const operations = { env: operation(), echo: operation() };
    const start = (options) => spawnWorker({ operations, module: ${JSON.stringify(module.href)}, ...options });
    ${lines}`;
  return await run(process.execPath, ['--input-type=module', '--eval', script]);
}

const fails = 'const worker = start(); console.log((await worker.call("echo", 1).catch((error) => error)).message);';

test.runIf(process.platform !== 'win32')('spawnWorker() runs a process host by the program of execPath', async () => {
  const execPath = await program('wrapper', `BY_WRAPPER=yes exec '${process.execPath}' "$@"`);
  await using worker = spawnWorker({ operations, module, execPath });
  expect(await worker.call('env', 'BY_WRAPPER')).toBe('yes');
  const spare = startSpareHost({ execPath, module });
  expect(await spare.ready).toBe(true);
  await using taker = spawnWorker({ operations, module, spare });
  expect(await taker.call('env', 'BY_WRAPPER')).toBe('yes');
});

test.runIf(process.platform !== 'win32')(
  'spawnWorker() says that a program which ends without a word is no Node',
  async () => {
    const execPath = await program('another app', 'exit 0');
    const worker = spawnWorker({ operations, module, execPath });
    const error = (await worker.call('echo', 1).catch((each: unknown) => each)) as WorkerLoadError;
    expect(error.code).toBe('ERR_WORKER_LOAD');
    expect(error.message).toContain(`${execPath} ended without a word, so it is not Node`);
    expect(error.message).toContain("host 'thread'");
  },
);

test('spawnWorker() does not say so of a model that ends its process with code 0 as it is loaded', async () => {
  const ending = new URL('data:text/javascript,process.exit(0)');
  const worker = spawnWorker({ operations, module: ending });
  await expect(worker.call('echo', 1)).rejects.toThrow(/exited with code 0$/);
});

test('spawnWorker() starts Electron as Node', async () => {
  const electron = `Object.defineProperty(process.versions, 'electron', { value: '40.0.0' });`;
  const { stdout } = await runAs(
    electron,
    'const worker = start(); console.log(await worker.call("env", "ELECTRON_RUN_AS_NODE")); await worker.close();',
  );
  expect(stdout).toBe('1\n');
});

for (const [what, disguise] of [
  [
    'node:sea',
    `const builtin = process.getBuiltinModule; process.getBuiltinModule = (name) => name === 'node:sea' ? { isSea: () => true } : builtin(name);`,
  ],
  ['pkg', `process.pkg = {};`],
] as const) {
  test(`spawnWorker() refuses to start a single executable again, and advises what works: ${what}`, async () => {
    const { stdout } = await runAs(disguise, fails);
    expect(stdout).toMatch(
      /^Cannot start worker: .* is a single executable and no Node: .* execPath, or use host 'thread'\n$/,
    );
    const node = `execPath: ${JSON.stringify(process.execPath)}`;
    for (const options of ["host: 'thread'", node]) {
      const { stdout: worked } = await runAs(
        disguise,
        `const worker = start({ ${options} }); console.log(await worker.call("echo", 1)); await worker.close();`,
      );
      expect(worked).toBe('1\n');
    }
  });
}

test('spawnWorker() says which host works where there is no v8.Serializer', async () => {
  const bun = `
    const v8 = await import('node:v8');
    v8.default.Serializer = class { constructor() { throw new Error('not yet implemented'); } };
    (await import('node:module')).syncBuiltinESMExports();
    Object.defineProperty(process.versions, 'bun', { value: '1.4.5' });`;
  const { stdout } = await runAs(bun, fails);
  expect(stdout).toMatch(/^Cannot start worker: .*Bun 1\.4\.5 has no v8\.Serializer, .*: use host 'thread'\n$/);
  const { stdout: worked } = await runAs(
    bun,
    `const worker = start({ host: 'thread' }); console.log(await worker.call("echo", 1)); await worker.close();`,
  );
  expect(worked).toBe('1\n');
});

for (const host of ['process', 'thread'] as const) {
  test(`a worker in host ${host} is spawning until its host runs, then it loads`, async () => {
    await using worker = spawnWorker({ operations, module, host });
    const seen: string[] = [worker.state.current];
    const following = (async () => {
      for await (const event of worker.events()) if (event.type === 'state') seen.push(event.to);
    })();
    await Promise.resolve();
    expect(worker.state.current).toBe('spawning');
    await worker.call('echo', 1);
    await worker.close();
    await following;
    expect(seen.slice(0, 3)).toEqual(['spawning', 'loading', 'ready']);
  });
}

for (const host of ['process', 'thread'] as const) {
  test(`a module that can't be parsed is named with its line, also where another imports it: host ${host}`, async () => {
    const bad = path.join(folder, `bad ${host}.mjs`);
    await writeFile(bad, 'export const one = 1;\n\nexport const two = one +;\n');
    const outer = path.join(folder, `outer ${host}.mjs`);
    await writeFile(outer, `import { two } from './bad ${host}.mjs';\nexport default () => ({ echo: () => two });\n`);
    const place = `SyntaxError: Unexpected token ';' at ${pathToFileURL(bad)}:3`;
    for (const file of [bad, outer]) {
      const worker = spawnWorker({ operations, module: pathToFileURL(file), host });
      await expect(worker.call('echo', 1)).rejects.toThrow(place);
    }
    const runs = path.join(folder, `runs ${host}.mjs`);
    await writeFile(runs, `JSON.parse('{');`);
    const worker = spawnWorker({ operations, module: pathToFileURL(runs), host });
    await expect(worker.call('echo', 1)).rejects.toThrow(/threw SyntaxError: [^\n]*(?<!mjs:\d+)$/);
  });
}

// The watchdog needs no loader, which the others are started with: read through one, a file is not where its path says.
test('spawnWorker() starts a child whose files only a loader can read', async () => {
  const hidden = path.join(folder, 'archive.zip');
  const loader = `
    import { register } from 'node:module';
    const hooks = ${JSON.stringify(`
      import { readFile } from 'node:fs/promises';
      import { fileURLToPath, pathToFileURL } from 'node:url';
      const real = (url) => url.replace('archive.zip/dist/', 'real/dist/');
      export async function resolve(specifier, context, next) {
        if (specifier.startsWith('.') && context.parentURL?.includes('archive.zip')) return { url: new URL(specifier, context.parentURL).href, format: 'module', shortCircuit: true };
        if (specifier.includes('archive.zip')) return { url: specifier, format: 'module', shortCircuit: true };
        return next(specifier, context.parentURL?.includes('archive.zip') ? { ...context, parentURL: ${JSON.stringify(import.meta.url)} } : context);
      }
      export async function load(url, context, next) {
        if (!url.includes('archive.zip')) return next(url, context);
        return { format: 'module', source: await readFile(fileURLToPath(real(url))), shortCircuit: true };
      }`)};
    register('data:text/javascript,' + encodeURIComponent(hooks));
    // The loader of CommonJS, by which the package finds its own files.
    const { createRequire } = await import('node:module');
    const Module = createRequire(import.meta.url)('node:module');
    const find = Module._resolveFilename;
    Module._resolveFilename = function (request, ...rest) {
      const parent = rest[0]?.filename ?? '';
      if (parent.includes('archive.zip') && request.startsWith('.')) return new URL(request, 'file://' + encodeURI(parent)).pathname.replaceAll('%20', ' ');
      if (String(request).includes('archive.zip')) return request;
      return find.call(this, request, ...rest);
    };`;
  const loaderFile = path.join(folder, 'loader.mjs');
  await writeFile(loaderFile, loader);
  await cp(dist, path.join(folder, 'real', 'dist'), { recursive: true });
  const script = path.join(folder, 'app.mjs');
  await writeFile(
    script,
    `const { operation, spawnWorker } = await import(${JSON.stringify(`file://${encodeURI(hidden)}/dist/worker/index.js`)});
     const worker = spawnWorker({ operations: { echo: operation() }, module: ${JSON.stringify(module.href)} });
     console.log(await worker.call('echo', 1)); await worker.close();`,
  );
  const { stdout, stderr } = await run(process.execPath, ['--import', loaderFile, script]);
  expect([stdout, stderr]).toEqual(['1\n', '']);
});
