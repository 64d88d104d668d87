import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { testModelFiles, testModels } from '../../../scripts/make-test-models.js';
import { OnnxBuilder } from '../../../scripts/onnx/onnx-builder.js';
import { fetchModel } from '../../../src/image-embedding/hub/fetch-model.js';
import { type HubOptions, hubCacheFolder, requireHubOptions } from '../../../src/image-embedding/hub/hub-options.js';
import { createImageEmbeddingPool } from '../../../src/image-embedding/index.js';
import { readModelFolder } from '../../../src/image-embedding/model/model-folder.js';
import { mountNamespaces, program, root, testNeeding } from '../../support/needs.js';
import { type LocalHub, sha256, startLocalHub } from './local-hub.js';

const run = promisify(execFile);
const child = fileURLToPath(new URL('./fetch-model-child.mjs', import.meta.url));
const NAME = 'millrace/tiny-clip';
const ONNX = 'onnx/vision_model.onnx';
const files = testModelFiles(testModels[0] as (typeof testModels)[number]);

let hub: LocalHub;
let below: string;
let cacheDir: string;
const before = { ...process.env };

beforeEach(async () => {
  hub = await startLocalHub(NAME, files);
  below = await mkdtemp(path.join(os.tmpdir(), 'millrace-hub-'));
  cacheDir = path.join(below, 'cache');
  // What this machine is logged in with is none of the tests' business.
  process.env.HF_HOME = path.join(below, 'home');
  for (const name of ['HF_TOKEN', 'HF_TOKEN_PATH', 'HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE', 'HF_ENDPOINT'])
    delete process.env[name];
});

afterEach(async () => {
  process.env = { ...before };
  await hub.close();
  await rm(below, { recursive: true, force: true });
});

const settings = (more: HubOptions = {}) =>
  requireHubOptions('Test', { endpoint: hub.endpoint, cacheDir, offline: false, ...more });
const fetchIt = (more: HubOptions = {}, reference = {}) =>
  fetchModel({ from: NAME, ...reference }, settings(more), undefined);
const failure = async (promise: Promise<unknown>): Promise<{ code?: string; message: string; cause?: unknown }> =>
  promise.then(
    () => ({ message: 'no failure' }),
    (error: unknown) => error as { message: string },
  );
const snapshot = () => path.join(cacheDir, 'models--millrace--tiny-clip', 'snapshots', hub.commit);

describe('fetchModel() of a cache that has all that is needed', () => {
  test('writes nothing, while the hub is there', async () => {
    await fetchIt();
    const names = (await readdir(cacheDir, { recursive: true })).sort();
    const made = async () =>
      Promise.all(
        names.map(async (name) => [
          name,
          (await lstat(path.join(cacheDir, name))).ino,
          (await lstat(path.join(cacheDir, name))).mtimeMs,
        ]),
      );
    const first = await made();
    expect(await fetchIt()).toBe(snapshot());
    expect((await readdir(cacheDir, { recursive: true })).sort()).toEqual(names);
    expect(await made()).toEqual(first);
  });

  test('makes the one link again that is not what it should be', async () => {
    const folder = await fetchIt();
    await rm(path.join(folder, 'config.json'));
    await rm(path.join(folder, ONNX));
    const { ino } = await lstat(path.join(folder, 'preprocessor_config.json'));
    await fetchIt();
    expect(await readFile(path.join(folder, 'config.json'), 'utf8')).toContain('model_type');
    expect((await lstat(path.join(folder, 'preprocessor_config.json'))).ino).toBe(ino);
  });

  testNeeding(root, program('setpriv'))(
    'works for a user who may not write it, and says what fails where something is missing',
    async () => {
      await chmod(below, 0o755);
      const as = (): Promise<{ stdout: string; stderr: string }> =>
        run('setpriv', ['--reuid', '12345', '--clear-groups', process.execPath, child, hub.endpoint, cacheDir, NAME]);
      await fetchIt();
      await as();
      // The branch is not noted; what it stands for is there.
      await rm(path.join(cacheDir, 'models--millrace--tiny-clip', 'refs'), { recursive: true });
      await as();
      await rm(path.join(snapshot(), ONNX));
      expect((await failure(as())).message).toMatch(/ModelDownloadError: Cannot download .*EACCES/);
    },
  );
});

describe('fetchModel() tries requests again', () => {
  test('whichever of them it is', async () => {
    for (const at of [0, 1, 2]) {
      await rm(cacheDir, { recursive: true, force: true });
      hub.answers.push(...new Array<null>(at).fill(null), { status: 429 }, { status: 503 });
      expect([at, await fetchIt()]).toEqual([at, snapshot()]);
    }
  });

  test('after the time that the hub asks for', async () => {
    for (const headers of [{ 'retry-after': '1' }, undefined, { ratelimit: '"api";r=0;t=1' }]) {
      await rm(cacheDir, { recursive: true, force: true });
      const date = { 'retry-after': new Date(Date.now() + 2_000).toUTCString() };
      hub.answers.push({ status: 429, headers: headers ?? date });
      const start = performance.now();
      await fetchIt();
      expect(performance.now() - start).toBeGreaterThan(900);
    }
  });

  test('and says for how long it asked when it gives up', async () => {
    for (const at of [0, 1, 2]) {
      hub.answers.push(...new Array<null>(at).fill(null), { status: 429, headers: { 'retry-after': '3600' } });
      const { code, message } = await failure(fetchIt());
      expect(code).toBe('ERR_MODEL_DOWNLOAD');
      expect(message).toContain('the hub answered 429, and asked to wait 3600 s');
      expect(message).toContain('HF_TOKEN');
    }
    // No try was wasted on a hub that asks for more than is waited.
    expect(hub.requests).toHaveLength(1 + 2 + 3);
  });

  test('as often as it was told', async () => {
    hub.answers.push(...new Array<{ status: number }>(9).fill({ status: 500 }));
    expect((await failure(fetchIt({ retries: 1 }))).message).toContain('the hub answered 500');
    expect(hub.requests).toHaveLength(2);
  });

  test('but not where the cache has what the branch stood for', async () => {
    const folder = await fetchIt();
    hub.answers.push({ status: 429, headers: { 'retry-after': '3600' } });
    expect(await fetchIt()).toBe(folder);
    await hub.close();
    expect(await fetchIt()).toBe(folder);
  });
});

describe('fetchModel() says', () => {
  test('why the hub could not be reached, and of a proxy that Node does not use', async () => {
    const nowhere = { endpoint: 'http://127.0.0.1:9', retries: 0 };
    delete process.env.NODE_USE_ENV_PROXY;
    const plain = await failure(fetchIt(nowhere));
    expect(plain.code).toBe('ERR_MODEL_DOWNLOAD');
    expect(plain.message).toMatch(/the hub could not be reached \(.+\)$/);
    process.env.HTTPS_PROXY = 'http://proxy.example:3128';
    expect((await failure(fetchIt(nowhere))).message).toContain(
      'HTTPS_PROXY is set, which Node uses only with NODE_USE_ENV_PROXY=1',
    );
    process.env.NODE_USE_ENV_PROXY = '1';
    expect((await failure(fetchIt(nowhere))).message).not.toContain('HTTPS_PROXY');
  });

  test('that a file is gated, and where to ask for access', async () => {
    for (const status of [401, 403]) {
      hub.answers.push(null, null, { status });
      const { code, message } = await failure(fetchIt());
      expect(code).toBe('ERR_MODEL_DOWNLOAD');
      expect(message).toContain(`the hub answered ${status}`);
      expect(message).toContain(`gated, ask for access on ${hub.endpoint}/${NAME}`);
    }
    hub.answers.push({ status: 401 });
    expect((await failure(fetchIt())).message).toContain(`${hub.endpoint}/${NAME}`);
  });

  test('what is wrong with the disk, after one request for the file', async () => {
    // In the place of the folder for files is a file.
    await mkdir(path.dirname(path.dirname(snapshot())), { recursive: true });
    await writeFile(path.join(path.dirname(path.dirname(snapshot())), 'blobs'), '');
    const { code, message, cause } = await failure(fetchIt());
    expect(code).toBe('ERR_MODEL_DOWNLOAD');
    expect(message).toMatch(/Cannot download millrace\/tiny-clip into .*: (?:ENOTDIR|EEXIST)/);
    expect(cause).toBeInstanceOf(Error);
    expect(hub.requests.filter((each) => each.includes('/resolve/'))).toEqual([]);
  });

  test('that there is no room, before it asks for a file', async () => {
    hub.sizes.set('config.json', 2 ** 50);
    const { code, message } = await failure(fetchIt());
    expect(code).toBe('ERR_MODEL_DOWNLOAD');
    expect(message).toMatch(/it needs 11258999\d\d\.\d MB more in .*, where \d+\.\d MB are free/);
    expect(hub.requests.filter((each) => each.includes('/resolve/'))).toEqual([]);
  });

  testNeeding(root, mountNamespaces)('that the disk is full, once', async () => {
    await mkdir(cacheDir, { recursive: true });
    // One inode for the root: nothing can be made, though bytes are free.
    const script = 'mount -t tmpfs -o size=10m,nr_inodes=5 none "$2" && exec "$0" "$1" "$3" "$2" "$4"';
    const failed = await failure(
      run('unshare', ['--mount', 'sh', '-c', script, process.execPath, child, cacheDir, hub.endpoint, NAME]),
    );
    expect(failed.message).toMatch(/ModelDownloadError: Cannot download .*ENOSPC/);
    expect(hub.requests.filter((each) => each.includes('/resolve/')).length).toBeLessThanOrEqual(1);
  });
});

describe('fetchModel() brings', () => {
  test('weights under any name that the graph has for them', async () => {
    const builder = new OnnxBuilder();
    builder.externalWeight('one', [3, 4], 'weights.bin');
    builder.externalWeight('two', [3, 4], 'parts/more.data');
    builder.externalWeight('three', [3, 4], '../outside.bin');
    builder.externalWeight('four', [3, 4], '../../../../etc/passwd');
    const body = Buffer.alloc(48);
    hub.files = new Map<string, Uint8Array>([
      ...files,
      [ONNX, builder.build({ name: 'external', doc: '' })],
      ['onnx/weights.bin', body],
      ['onnx/parts/more.data', Buffer.alloc(48, 1)],
      ['outside.bin', Buffer.alloc(48, 2)],
      ['onnx/other.bin', Buffer.alloc(48, 3)],
    ]);
    const folder = await fetchIt();
    expect((await stat(path.join(folder, 'onnx/weights.bin'))).size).toBe(48);
    expect((await stat(path.join(folder, 'onnx/parts/more.data'))).size).toBe(48);
    await expect(stat(path.join(folder, 'onnx/other.bin'))).rejects.toThrow('ENOENT');
    expect(sha256(await readFile(path.join(folder, 'onnx/weights.bin')))).toBe(sha256(body));
  });

  test('the processor configuration of transformers 5', async () => {
    const image_processor = JSON.parse(
      Buffer.from(files.get('preprocessor_config.json') as Uint8Array).toString(),
    ) as object;
    const nested = new Map(files);
    nested.delete('preprocessor_config.json');
    nested.set(
      'processor_config.json',
      Buffer.from(JSON.stringify({ processor_class: 'CLIPProcessor', image_processor })),
    );
    hub.files = nested;
    const folder = await fetchIt();
    expect((await readModelFolder(folder)).preprocess.output).toEqual({ width: 32, height: 32 });
    const asked = hub.requests.length;
    await fetchIt({ offline: true });
    expect(hub.requests).toHaveLength(asked);
    nested.set('processor_config.json', Buffer.from('{"processor_class":"CLIPProcessor"}'));
    await rm(cacheDir, { recursive: true });
    await expect(readModelFolder(await fetchIt())).rejects.toThrow('image_processor');
  });
});

describe('fetchModel() takes from the environment', () => {
  test('the token that was stored by a login, for the hub alone', async () => {
    await mkdir(path.join(below, 'home'), { recursive: true });
    await writeFile(path.join(below, 'home', 'token'), 'hf_stored\n');
    await fetchIt();
    expect([...hub.tokens]).toEqual(['Bearer hf_stored']);
    for (const [env, expected] of [
      [{ HF_TOKEN: 'hf_given' }, ['Bearer hf_given']],
      [{ HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' }, []],
      [{ HF_TOKEN_PATH: path.join(below, 'elsewhere') }, []],
    ] as const) {
      await rm(cacheDir, { recursive: true });
      hub.tokens.clear();
      vi.stubEnv('HF_TOKEN', '');
      for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
      await fetchIt();
      expect([env, [...hub.tokens]]).toEqual([env, expected]);
      vi.unstubAllEnvs();
    }
    await rm(cacheDir, { recursive: true });
    hub.tokens.clear();
    await fetchIt({ accessToken: '' });
    expect([...hub.tokens]).toEqual([]);
  });

  test('a cache folder with a tilde or a variable in it', () => {
    const home = os.homedir();
    process.env.CACHES = '/caches';
    for (const [env, folder] of [
      [{ HF_HOME: '~/hf' }, path.join(home, 'hf', 'hub')],
      [{ HF_HOME: '~' }, path.join(home, 'hub')],
      [{ HF_HUB_CACHE: '~/models' }, path.join(home, 'models')],
      [{ HF_HOME: '$CACHES/hf' }, '/caches/hf/hub'],
      [{ HF_HOME: ['$', '{CACHES}/hf'].join('') }, '/caches/hf/hub'],
      [{ HF_HOME: '/a~b' }, '/a~b/hub'],
      [{ HF_HOME: '', XDG_CACHE_HOME: '/xdg' }, '/xdg/huggingface/hub'],
      [{ HF_HOME: '', XDG_CACHE_HOME: '' }, path.join(home, '.cache', 'huggingface', 'hub')],
    ] as const) {
      process.env = { ...before, CACHES: '/caches', HF_HUB_CACHE: '', HUGGINGFACE_HUB_CACHE: '', ...env };
      expect([env, hubCacheFolder()]).toEqual([env, folder]);
    }
  });

  test('an endpoint, which is judged when the hub is asked', async () => {
    process.env.HF_ENDPOINT = 'mirror.example';
    const given = requireHubOptions('Test', { cacheDir, offline: false });
    const { code, message } = await failure(fetchModel({ from: NAME }, given, undefined));
    expect(code).toBe('ERR_MODEL_DOWNLOAD');
    expect(message).toContain("HF_ENDPOINT must be an http or https URL, received 'mirror.example'");
    const pool = createImageEmbeddingPool({ host: 'inline' });
    expect((await pool.describe()).dimension).toBe(256);
    await pool.close();
  });
});

test('fetchModel() asks by the function that it is given', async () => {
  const asked: string[] = [];
  const own: typeof globalThis.fetch = (input, init) => {
    asked.push(new URL(input instanceof Request ? input.url : input).pathname);
    return globalThis.fetch(input, init);
  };
  await fetchIt({ fetch: own });
  expect(asked).toEqual(hub.requests.map((each) => each.split(' ')[1]));
  expect(() => settings({ fetch: 'undici' as never })).toThrow(TypeError);
});

test('fetchModel() sends its token to no other origin that the hub names', async () => {
  const tokens: (string | undefined)[] = [];
  const other = createServer((request, response) => {
    tokens.push(request.headers.authorization);
    response.writeHead(200, { 'content-type': 'application/json' }).end('[]');
  }).listen(0, '127.0.0.1');
  await once(other, 'listening');
  const next = `<http://127.0.0.1:${(other.address() as AddressInfo).port}/more>; rel="next"`;
  const own: typeof globalThis.fetch = async (input, init) => {
    const response = await globalThis.fetch(input, init);
    if (!String(input).includes('/tree/')) return response;
    return new Response(response.body, { status: 200, headers: { 'content-type': 'application/json', link: next } });
  };
  await fetchIt({ accessToken: 'hf_secret', fetch: own });
  expect(tokens).toEqual([undefined]);
  expect([...hub.tokens]).toEqual(['Bearer hf_secret']);
  other.close();
});

describe("the hub's list of files", () => {
  /** The tree of the local hub, cut into pages of one file each. */
  const inPages =
    (
      pathOfHub: string,
      change: (page: number, body: unknown) => unknown = (_, body) => body,
    ): typeof globalThis.fetch =>
    async (input, init) => {
      const url = new URL(String(input));
      const page = Number(url.searchParams.get('page') ?? 0);
      const response = await globalThis.fetch(input, init);
      if (!url.pathname.includes('/tree/')) return response;
      const all = (await response.json()) as unknown[];
      const link = `<${hub.endpoint}${pathOfHub}${url.pathname}?recursive=true&page=${page + 1}>; rel="next"`;
      const headers = page + 1 < all.length ? { link } : {};
      return new Response(JSON.stringify(change(page, [all[page]])), { status: 200, headers });
    };

  test('is read to its last page', async () => {
    await fetchIt({ fetch: inPages('') });
    expect(hub.requests.filter((each) => each.includes('/tree/')).length).toBeGreaterThan(3);
  });

  test.each([
    ['no list', { error: 'odd' }],
    ['a text', 'files'],
    ['nothing', null],
  ])('is refused when a page is %s', async (_, body) => {
    const failed = fetchIt({ fetch: inPages('', (page, own) => (page === 1 ? body : own)) });
    await expect(failed).rejects.toMatchObject({ code: 'ERR_MODEL_DOWNLOAD' });
  });

  test('passes over entries that are no files', async () => {
    await fetchIt({ fetch: inPages('', (_, body) => [null, 7, { type: 'symlink' }, ...(body as unknown[])]) });
  });

  test('is refused when it goes on without end', async () => {
    const endless: typeof globalThis.fetch = async (input, init) => {
      if (!String(input).includes('/tree/')) return await globalThis.fetch(input, init);
      return new Response('[]', { status: 200, headers: { link: `<${String(input)}>; rel="next"` } });
    };
    await expect(fetchIt({ fetch: endless })).rejects.toThrow('more than 1000 pages');
  });

  test('a hub below a path is asked there', async () => {
    const asked: string[] = [];
    const mirror: typeof globalThis.fetch = (input, init) => {
      const url = new URL(String(input));
      asked.push(url.pathname);
      return globalThis.fetch(`${hub.endpoint}${url.pathname.replace('/mirror/hf', '')}${url.search}`, init);
    };
    await fetchIt({ fetch: mirror, endpoint: 'http://mirror.example/mirror/hf/' });
    expect(asked.every((each) => each.startsWith('/mirror/hf/'))).toBe(true);
    expect(asked.some((each) => each.includes('//'))).toBe(false);
  });
});
