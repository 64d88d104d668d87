/** The package in browsers and on edge runtimes: what bundlers make of it there, its one file of channels, and names that minifiers leave alone. */
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeNeeding, program } from '../support/needs.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'millrace browser '));
  await mkdir(path.join(folder, 'node_modules'));
  await symlink(root, path.join(folder, 'node_modules', 'millrace'), 'junction');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function bundle(contents: string, options: object): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: folder },
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    logLevel: 'silent',
    ...options,
  });
  return outputFiles?.[0]?.text ?? '';
}

const ENTRIES = ['channels', 'channels/port', 'worker', 'pool', 'remote', 'image-embedding', 'search', 'serve', 'nats'];

test('errors keep their names in a minified bundle', async () => {
  const external = [
    'sharp',
    'onnxruntime-node',
    'hono',
    '@hono/*',
    'prom-client',
    '@nats-io/*',
    '@msgpack/*',
    '@huggingface/*',
  ];
  const imports = ENTRIES.map((entry, at) => `export * as entry${at} from 'millrace/${entry}';`);
  const text = await bundle(imports.join('\n'), { platform: 'node', external });
  const file = path.join(folder, 'all.mjs');
  const shim = "import { createRequire as r } from 'node:module'; const require = r(import.meta.url);";
  await writeFile(file, `${shim}${text}`);
  const entries = (await import(pathToFileURL(file).href)) as Record<string, Record<string, unknown>>;
  for (const [at, entry] of ENTRIES.entries()) {
    const exports = Object.entries(entries[`entry${at}`] as object);
    const errors = exports.filter(([, value]) => typeof value === 'function' && value.prototype instanceof Error);
    expect(errors.length, entry).toBeGreaterThan(0);
    for (const [name, value] of errors) {
      if (name === 'MillraceError') continue;
      expect((value as { name: string }).name).toBe(name);
      expect(Reflect.construct(Error, [], value as new () => Error).constructor.name).toBe(name);
    }
  }
});

describe('the root entry', () => {
  test.each(['browser', 'workerd'])(
    'has the channels under the condition %s, and nothing of Node',
    async (condition) => {
      const text = await bundle(
        "import { mpsc, select, isMillraceError } from 'millrace'; console.log(mpsc, select, isMillraceError);",
        { platform: condition === 'browser' ? 'browser' : 'neutral', conditions: [condition] },
      );
      expect(text).not.toContain('node:');
    },
  );

  test('is not silent about what a browser cannot have', async () => {
    const failed = bundle("import { createPool } from 'millrace'; createPool();", { platform: 'browser' });
    await expect(failed).rejects.toThrow('No matching export in');
  });

  test('has all of it in Node', async () => {
    const text = await bundle("export { createPool } from 'millrace';", { platform: 'node', packages: 'external' });
    expect(text).toContain('millrace');
  });
});

test('the one file of channels is small', async () => {
  const file = await readFile(path.join(root, 'dist/channels.js'));
  expect(gzipSync(file, { level: 9 }).length).toBeLessThan(25_000);
});

const PAGE = `<!doctype html><title>channels</title><script type="module">
  import { bridge, mpsc, select, sleep } from './channels.js';
  const [tx, rx] = mpsc.channel(2);
  const producer = (async () => { for (let n = 1; n <= 1000; n++) await tx.send(n); tx.close(); })();
  let sum = 0;
  for await (const n of rx) sum += n;
  await producer;
  const worker = new Worker('./worker.js', { type: 'module' });
  const squares = bridge(worker).receiver(4);
  let total = 0;
  for (;;) {
    const event = await select({ squares, late: sleep(20_000) });
    if (event.arm !== 'squares') break;
    total += event.value;
    if (event.value === 10_000) break;
  }
  document.title = sum + ' ' + total;
</script>`;
const WORKER = `
  import { bridge } from './channels.js';
  const tx = bridge(self).sender(4);
  for (let n = 1; n <= 100; n++) await tx.send(n * n);
`;

describeNeeding(program('chromium'))('a browser without a bundler', () => {
  let server: Server;
  let browser: Browser;
  const asked: string[] = [];

  beforeAll(async () => {
    const file = await readFile(path.join(root, 'dist/channels.js'));
    const pages: Record<string, [string, string | Buffer]> = {
      '/': ['text/html', PAGE],
      '/worker.js': ['text/javascript', WORKER],
      '/channels.js': ['text/javascript', file],
    };
    server = createServer((request, response) => {
      asked.push(request.url as string);
      const [type, body] = pages[request.url as string] ?? ['text/plain', ''];
      response.setHeader('content-type', type).end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
    server?.closeAllConnections();
    server?.close();
  });

  test('has channels, select and a Web Worker’s values from the one file', async () => {
    const page = await browser.newPage();
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(String(error)));
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    await page.waitForFunction("document.title !== 'channels'", undefined, { timeout: 30_000 }).catch(() => undefined);
    expect(errors).toEqual([]);
    expect(await page.title()).toBe('500500 338350');
    const own = asked.filter((url) => url !== '/favicon.ico');
    expect(new Set(own)).toEqual(new Set(['/', '/channels.js', '/worker.js']));
  }, 60_000);
});
