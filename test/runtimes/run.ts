/**
 * Runs the suites of the channels, the hosts of workers and the image pool on other runtimes: `npm run test:runtimes [-- --write] [name…]`.
 *
 * Their packages are in this folder's own package.json, and are installed when they are missing; Chromium is the system's. A result that is not the
 * expected one ends it with 1. With `--write` the table goes between its marks in the README.
 */
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createSocketServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';
import { bundleSuites } from './build.js';
import type { Outcome } from './shim/vitest.js';

const exec = promisify(execFile);
const here = fileURLToPath(new URL('.', import.meta.url));
const readme = path.join(here, '../../README.md');
const MARKS = ['<!-- runtimes: written by npm run test:runtimes -- --write -->', '<!-- /runtimes -->'] as const;
const HOSTS = ['inline', 'thread', 'process', 'images'] as const;
const TIMEOUT_MS = 240_000;
const CHROMIUM = '/usr/bin/chromium';

/** A row of the table. */
interface Row {
  readonly name: string;
  readonly channels: Outcome;
  /** `ok`, or `no`; undefined where the runtime has no such host. */
  readonly hosts?: Readonly<Record<(typeof HOSTS)[number], string>>;
}

interface Runtime {
  readonly name: string;
  run(folder: string): Promise<Row>;
}

const installed = (...names: string[]): string => path.join(here, 'node_modules', ...names);

/** A runtime with a command: Node, Deno, Bun. */
function ofCommand(
  name: string,
  command: string,
  before: readonly string[] = [],
  forHosts: readonly string[] = before,
): Runtime {
  return {
    name,
    run: async (folder) => {
      const { stdout } = await exec(command, [...before, path.join(folder, 'print.mjs')], {
        timeout: TIMEOUT_MS,
        maxBuffer: 2 ** 26,
      });
      const hosts = {} as Record<(typeof HOSTS)[number], string>;
      for (const host of HOSTS) {
        const args = [...forHosts, path.join(here, 'hosts.mjs'), host];
        hosts[host] = await exec(command, args, { timeout: 60_000, killSignal: 'SIGKILL' }).then(
          (done) => (done.stdout.trim().endsWith('ok') ? 'ok' : 'no'),
          () => 'no',
        );
      }
      return { name, channels: outcomeIn(stdout), hosts };
    },
  };
}

const outcomeIn = (text: string): Outcome => JSON.parse(text.slice(text.indexOf('{"passed"'))) as Outcome;

async function freePort(): Promise<number> {
  const server = createSocketServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Cloudflare's runtime, which behaves as it did at a date. */
function ofWorkerd(date: string): Runtime {
  const name = `workerd, compatibility date ${date}`;
  return {
    name,
    run: async (folder) => {
      const port = await freePort();
      const config = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (
    modules = [
      (name = "worker.mjs", esModule = "import { run } from './suites.mjs'; export default { fetch: async () => Response.json(await run()) };"),
      (name = "suites.mjs", esModule = embed "suites.mjs"),
    ],
    compatibilityDate = "${date}",
  ))],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);`;
      const file = path.join(folder, `workerd-${date}.capnp`);
      await writeFile(file, config);
      const command = installed('@cloudflare', 'workerd-linux-64', 'bin', 'workerd');
      const child = spawn(command, ['serve', file], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
      let said = '';
      child.stderr.on('data', (chunk) => {
        said += chunk;
      });
      try {
        const signal = AbortSignal.timeout(TIMEOUT_MS);
        for (;;) {
          const answer = await fetch(`http://127.0.0.1:${port}/`, { signal }).catch((error: Error) => {
            if (signal.aborted || child.exitCode !== null) throw new Error(`${name}: ${error.message}; ${said}`);
          });
          if (answer !== undefined) return { name, channels: (await answer.json()) as Outcome };
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      } finally {
        // One that is busy hears no other signal.
        child.kill('SIGKILL');
      }
    },
  };
}

/** Chromium: in a page, or in a Web Worker. */
function ofChromium(where: 'page' | 'worker'): Runtime {
  return {
    name: `Chromium, ${where}`,
    run: async (folder) => {
      const suites = await readFile(path.join(folder, 'suites.mjs'));
      const worker = "import { run } from './suites.mjs'; postMessage(await run());";
      const server = createServer(({ url }, response) => {
        const [type, body] =
          url === '/suites.mjs'
            ? ['text/javascript', suites]
            : url === '/worker.mjs'
              ? ['text/javascript', worker]
              : ['text/html', ''];
        response.setHeader('content-type', type as string).end(body);
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
      try {
        const page = await browser.newPage();
        await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
        const inPage = "import('/suites.mjs').then(({ run }) => run())";
        const inWorker =
          "new Promise((resolve, reject) => Object.assign(new Worker('/worker.mjs', { type: 'module' }), { onmessage: ({ data }) => resolve(data), onerror: reject }))";
        const channels = (await page.evaluate(where === 'page' ? inPage : inWorker)) as Outcome;
        return { name: `Chromium ${browser.version().split('.')[0]}, ${where}`, channels };
      } finally {
        await browser.close();
        server.closeAllConnections();
        server.close();
      }
    },
  };
}

const DENO = installed('@deno', 'linux-x64-glibc', 'deno');
const RUNTIMES: readonly Runtime[] = [
  ...['20', '22', '24', '26'].map((major) =>
    ofCommand(`Node ${major}`, installed(`node${major}`, 'bin', 'node'), ['--expose-gc']),
  ),
  ofCommand('Deno 2.9', DENO, ['run', '--quiet'], ['run', '--quiet', '--allow-all']),
  ofCommand('Bun 1.4', installed('@oven', 'bun-linux-x64', 'bin', 'bun')),
  ...['2024-01-01', '2025-09-01', '2026-10-01'].map(ofWorkerd),
  ofChromium('page'),
  ofChromium('worker'),
];

/** What is expected beside passing: Bun has no `v8.Serializer`, so it has no process host. */
const EXPECTED_NO: Readonly<Record<string, readonly string[]>> = { 'Bun 1.4': ['process'] };

function tableOf(rows: readonly Row[]): string {
  const lines = rows.map(({ name, channels: { passed, nodeOnly, failed }, hosts }) => {
    const all = passed + failed.length;
    const cells = HOSTS.map((host) => hosts?.[host] ?? '-');
    return `| ${[name, `${passed} of ${all}, ${nodeOnly} need more`, ...cells].join(' | ')} |`;
  });
  return [
    '| runtime | channels: cases | inline | thread | process | image pool |',
    '| --- | --- | --- | --- | --- | --- |',
    ...lines,
  ].join('\n');
}

async function writeTable(table: string): Promise<void> {
  const text = await readFile(readme, 'utf8');
  const [from, to] = MARKS.map((mark) => text.indexOf(mark)) as [number, number];
  if (from < 0 || to < from) throw new Error(`the README lacks the marks ${MARKS.join(' and ')}`);
  await writeFile(readme, `${text.slice(0, from + MARKS[0].length)}\n\n${table}\n\n${text.slice(to)}`);
}

const args = process.argv.slice(2);
const filters = args.filter((each) => !each.startsWith('--')).map((each) => each.toLowerCase());
if (!existsSync(installed('workerd'))) {
  await exec('npm', ['ci', '--ignore-scripts', '--force', '--no-audit', '--no-fund'], {
    cwd: here,
    maxBuffer: 2 ** 26,
  });
}
const folder = await mkdtemp(path.join(os.tmpdir(), 'millrace runtimes '));
const rows: Row[] = [];
const problems: string[] = [];
try {
  await writeFile(path.join(folder, 'suites.mjs'), await bundleSuites());
  const print =
    "import { run } from './suites.mjs'; console.log(JSON.stringify(await run())); globalThis.process.exit(0);";
  await writeFile(path.join(folder, 'print.mjs'), print);
  for (const runtime of RUNTIMES) {
    if (filters.length > 0 && !filters.some((each) => runtime.name.toLowerCase().includes(each))) continue;
    const begun = performance.now();
    try {
      const row = await runtime.run(folder);
      rows.push(row);
      const { passed, failed } = row.channels;
      for (const { name, error } of failed) problems.push(`${row.name}: ${name}: ${error}`);
      if (passed < 1_000) problems.push(`${row.name}: only ${passed} cases were run`);
      for (const [host, result] of Object.entries(row.hosts ?? {})) {
        const expected = EXPECTED_NO[runtime.name]?.includes(host) ? 'no' : 'ok';
        if (result !== expected) problems.push(`${row.name}: ${host} is ${result}, expected ${expected}`);
      }
    } catch (error) {
      problems.push(`${runtime.name}: ${(error as Error).message}`);
    }
    process.stdout.write(`${runtime.name}: ${((performance.now() - begun) / 1000).toFixed(1)} s\n`);
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
const table = tableOf(rows);
process.stdout.write(`\n${table}\n`);
if (args.includes('--write') && problems.length === 0) await writeTable(table);
for (const problem of problems) process.stderr.write(`NO ${problem}\n`);
process.exitCode = problems.length === 0 ? 0 : 1;
