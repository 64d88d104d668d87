import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { lstat, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { testModelFiles, testModels } from '../../../scripts/make-test-models.js';
import { OnnxBuilder } from '../../../scripts/onnx/onnx-builder.js';
import { fetchModel } from '../../../src/image-embedding/hub/fetch-model.js';
import { type HubOptions, type HubProgress, requireHubOptions } from '../../../src/image-embedding/hub/hub-options.js';
import { EmbeddingSession } from '../../../src/image-embedding/inference/session.js';
import { readModelFolder } from '../../../src/image-embedding/model/model-folder.js';
import { type LocalHub, sha256, startLocalHub } from './local-hub.js';

const NAME = 'millrace/tiny-clip';
const ONNX = 'onnx/vision_model.onnx';
const files = testModelFiles(testModels[0] as (typeof testModels)[number]);
const weights = files.get(ONNX) as Uint8Array;
/** Weights beside the graph, as models above 2 GB have them: large enough to be cut in the middle. */
const DATA = 'onnx/vision_model.onnx_data';
const data = Buffer.alloc(4_000_000, 'weights');

let hub: LocalHub;
let cacheDir: string;

beforeEach(async () => {
  hub = await startLocalHub(
    NAME,
    new Map<string, Uint8Array>([
      ...files,
      [DATA, data],
      ['onnx/model_q4.onnx', weights],
      ['README.md', Buffer.from('hello')],
    ]),
  );
  cacheDir = await mkdtemp(path.join(os.tmpdir(), 'millrace-hub-'));
});

afterEach(async () => {
  await hub.close();
  await rm(cacheDir, { recursive: true, force: true });
});

const settings = (more: HubOptions = {}) =>
  requireHubOptions('Test', { endpoint: hub.endpoint, cacheDir, offline: false, ...more });
const fetchIt = (more: HubOptions = {}, reference = {}) =>
  fetchModel({ from: NAME, ...reference }, settings(more), undefined);
const downloads = () => hub.requests.filter((each) => each.includes('/resolve/'));

describe('fetchModel()', () => {
  test('brings what the model needs, and no more, into the standard cache, where it loads and runs', async () => {
    const folder = await fetchIt();
    expect(folder).toBe(path.join(cacheDir, 'models--millrace--tiny-clip', 'snapshots', hub.commit));
    expect((await readdir(folder, { recursive: true })).sort()).toEqual(
      ['config.json', 'onnx', ONNX, DATA, 'preprocessor_config.json'].sort(),
    );
    const link = path.join(folder, ONNX);
    expect((await lstat(link)).isSymbolicLink()).toBe(true);
    expect(await readlink(link)).toBe(path.join('..', '..', '..', 'blobs', sha256(weights)));
    expect(await readFile(path.join(cacheDir, 'models--millrace--tiny-clip', 'refs', 'main'), 'utf8')).toBe(hub.commit);
    const session = await EmbeddingSession.load(await readModelFolder(folder));
    const [vector] = await session.run([new Uint8Array(3 * 32 * 32)]);
    expect(vector).toHaveLength(24);
    await session.dispose();
  });

  test('is asked several times at once by one process, and answers each', async () => {
    const folders = await Promise.all([fetchIt(), fetchIt(), fetchIt()]);
    expect(new Set(folders).size).toBe(1);
    expect(downloads()).toHaveLength(4);
    const names = await readdir(cacheDir, { recursive: true });
    expect(names.filter((each) => /\.(tmp|lock|incomplete)$/.test(each))).toEqual([]);
  });

  test('gives up a hub that takes the question and never answers it', async () => {
    const silent = createServer(() => undefined).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const endpoint = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    await expect(fetchIt({ endpoint, stallTimeoutMs: 50 })).rejects.toMatchObject({ code: 'ERR_MODEL_DOWNLOAD' });
    const controller = new AbortController();
    const waiting = fetchModel({ from: NAME }, settings({ endpoint, stallTimeoutMs: 60_000 }), controller.signal);
    await once(silent, 'request');
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    silent.closeAllConnections();
    silent.close();
  });

  test('brings again what is missing of a pinned commit, weights beside the graph included', async () => {
    const builder = new OnnxBuilder();
    builder.externalWeight('weight', [3, 4], path.basename(DATA));
    hub.files = new Map([...hub.files, [ONNX, builder.build({ name: 'large', doc: '' })]]);
    const pinned = { revision: hub.commit };
    const folder = await fetchIt({}, pinned);
    await rm(path.join(folder, DATA));
    await expect(fetchIt({ offline: true }, pinned)).rejects.toMatchObject({ code: 'ERR_MODEL_OFFLINE' });
    await fetchIt({}, pinned);
    expect((await stat(path.join(folder, DATA))).size).toBe(data.length);
  });

  test('puts nothing outside of its cache, whatever the hub calls its files', async () => {
    hub.files = new Map([...hub.files, [`${DATA}/../../../../../../escaped`, Buffer.from('x')]]);
    await expect(fetchIt()).rejects.toMatchObject({
      code: 'ERR_MODEL_DOWNLOAD',
      message: expect.stringContaining('out of the repository'),
    });
    expect(downloads()).toEqual([]);
  });

  test('downloads nothing again, asks nothing for a pinned commit, and takes another number format when asked', async () => {
    await fetchIt();
    const before = hub.requests.length;
    await fetchIt({}, { revision: hub.commit });
    expect(hub.requests).toHaveLength(before);
    await fetchIt();
    expect(downloads()).toHaveLength(4);
    const folder = await fetchIt({}, { dtype: 'q4' });
    expect(downloads()).toHaveLength(4);
    expect((await stat(path.join(folder, 'onnx/model_q4.onnx'))).size).toBe(weights.length);
    await expect(fetchIt({}, { dtype: 'bnb4' })).rejects.toMatchObject({ code: 'ERR_MODEL_NOT_FOUND' });
  });

  test('works offline from the cache, and says so when it is not there', async () => {
    await expect(fetchIt({ offline: true })).rejects.toMatchObject({ code: 'ERR_MODEL_OFFLINE', fault: 'caller' });
    const folder = await fetchIt();
    const before = hub.requests.length;
    expect(await fetchIt({ offline: true })).toBe(folder);
    expect(await fetchIt({ offline: true }, { revision: hub.commit })).toBe(folder);
    expect(hub.requests).toHaveLength(before);
    await expect(fetchIt({ offline: true }, { revision: 'v1' })).rejects.toMatchObject({ code: 'ERR_MODEL_OFFLINE' });
  });

  test('uses what a branch stood for last when the hub is out of reach', async () => {
    const folder = await fetchIt();
    await hub.close();
    expect(await fetchIt()).toBe(folder);
    await expect(fetchIt({}, { revision: 'v1' })).rejects.toMatchObject({
      code: 'ERR_MODEL_DOWNLOAD',
      fault: 'system',
    });
  });

  test('goes on where a cut connection stopped', async () => {
    hub.faults.set(DATA, ['cut', 'busy']);
    await fetchIt();
    const asked = downloads().filter((each) => each.includes(DATA));
    expect(asked).toHaveLength(3);
    expect(asked[1]).toMatch(/ bytes=\d+-$/);
    expect(asked[2]).toBe(asked[1]);
  });

  test('goes on where an earlier process stopped', async () => {
    const blobs = path.join(cacheDir, 'models--millrace--tiny-clip', 'blobs');
    hub.faults.set(DATA, ['cut']);
    await expect(fetchIt({ retries: 0 })).rejects.toMatchObject({ code: 'ERR_MODEL_DOWNLOAD' });
    const part = (await stat(path.join(blobs, `${sha256(data)}.incomplete`))).size;
    expect(part).toBeGreaterThan(0);
    await fetchIt();
    expect(downloads().at(-1)).toContain(`bytes=${part}-`);
    expect((await readdir(blobs)).filter((each) => /incomplete|lock/.test(each))).toEqual([]);
  });

  test('starts again when the server knows no ranges, or when what was there is of another file', async () => {
    hub.faults.set(DATA, ['cut', 'ignore-range']);
    const folder = await fetchIt();
    expect((await readFile(path.join(folder, DATA))).equals(data)).toBe(true);
    await rm(path.join(cacheDir, 'models--millrace--tiny-clip'), { recursive: true });
    hub.faults.set(DATA, ['cut']);
    await expect(fetchIt({ retries: 0 })).rejects.toThrow();
    const incomplete = path.join(cacheDir, 'models--millrace--tiny-clip', 'blobs', `${sha256(data)}.incomplete`);
    await writeFile(incomplete, new Uint8Array(100));
    const again = await fetchIt();
    expect((await readFile(path.join(again, DATA))).equals(data)).toBe(true);
  });

  test('tries again when a download stands still', async () => {
    hub.faults.set(ONNX, ['stall']);
    await fetchIt({ stallTimeoutMs: 2_000 });
    expect(downloads().filter((each) => each.replace(/ bytes.*/, '').endsWith(ONNX))).toHaveLength(2);
  });

  test.each(['damage', 'longer'] as const)(
    'refuses a file with the fault %s, and keeps nothing of it',
    async (fault) => {
      hub.faults.set(ONNX, [fault]);
      await expect(fetchIt()).rejects.toMatchObject({ code: 'ERR_MODEL_DIGEST', fault: 'system' });
      const names = await readdir(cacheDir, { recursive: true });
      expect(names.filter((each) => each.includes(sha256(weights)) && !each.endsWith('.incomplete'))).toEqual([]);
    },
  );

  test('checks the digests that the caller pinned, in the cache too', async () => {
    const folder = await fetchIt({}, { digests: { [ONNX]: sha256(weights) } });
    await expect(fetchIt({}, { digests: { [ONNX]: 'f'.repeat(64) } })).rejects.toMatchObject({
      code: 'ERR_MODEL_DIGEST',
    });
    await expect(fetchIt({}, { digests: { '../x': 'f'.repeat(64) } })).rejects.toMatchObject({
      code: 'ERR_MODEL_DIGEST',
    });
    const changed = new Uint8Array(weights);
    changed[100] = (changed[100] as number) ^ 1;
    await writeFile(path.join(folder, ONNX), changed);
    await expect(fetchIt({ offline: true }, { digests: { [ONNX]: sha256(weights) } })).rejects.toMatchObject({
      code: 'ERR_MODEL_DIGEST',
    });
  });

  test('answers a model that the hub has not, or will not give, with coded errors', async () => {
    await expect(fetchModel({ from: 'nobody/nothing' }, settings(), undefined)).rejects.toMatchObject({
      code: 'ERR_MODEL_NOT_FOUND',
    });
    await expect(fetchIt({}, { revision: 'v9' })).rejects.toMatchObject({ code: 'ERR_MODEL_NOT_FOUND' });
    hub.faults.set(ONNX, ['refuse']);
    await expect(fetchIt()).rejects.toMatchObject({
      code: 'ERR_MODEL_DOWNLOAD',
      message: expect.stringContaining('403'),
    });
    await expect(fetchIt({}, { revision: '../../x' })).rejects.toThrow(RangeError);
  });

  test('sends the access token, and reports progress', async () => {
    const seen: HubProgress[] = [];
    await fetchIt({ accessToken: 'hf_secret', onProgress: (progress) => seen.push(progress) });
    expect([...hub.tokens]).toEqual(['Bearer hf_secret']);
    const last = seen.at(-1) as HubProgress;
    expect(last).toMatchObject({ model: NAME, file: DATA, receivedBytes: data.length, totalBytes: data.length });
    expect(last.allReceivedBytes).toBe(last.allTotalBytes);
  });

  test('stops when its signal aborts, with the reason', async () => {
    hub.faults.set(ONNX, ['stall']);
    const reason = new Error('enough');
    const controller = new AbortController();
    const fetching = fetchModel(
      { from: NAME },
      settings({ stallTimeoutMs: 60_000, onProgress: ({ file }) => file === ONNX && controller.abort(reason) }),
      controller.signal,
    );
    await expect(fetching).rejects.toBe(reason);
  });

  test('is brought once by racing processes', async () => {
    const child = fileURLToPath(new URL('./fetch-model-child.mjs', import.meta.url));
    const children = [1, 2, 3].map(() =>
      spawn(process.execPath, [child, hub.endpoint, cacheDir, NAME], { stdio: 'inherit' }),
    );
    const codes = await Promise.all(children.map(async (each) => (await once(each, 'exit'))[0]));
    expect(codes).toEqual([0, 0, 0]);
    expect(downloads()).toHaveLength(4);
  }, 30_000);
});

describe('requireHubOptions()', () => {
  test('takes the endpoint, the token and offline mode from the environment', () => {
    const before = { ...process.env };
    Object.assign(process.env, { HF_ENDPOINT: 'https://mirror.example/', HF_HUB_OFFLINE: '1', HF_TOKEN: 'hf_x' });
    expect(requireHubOptions('Test', undefined)).toMatchObject({
      endpoint: 'https://mirror.example',
      offline: true,
      accessToken: 'hf_x',
    });
    process.env = before;
  });

  test.each([[{ endpoint: 'ftp://x' }], [{ endpoint: 'nowhere' }], [{ retries: -1 }], [{ mirror: 'x' }]])(
    'refuses %j',
    (options) => {
      expect(() => requireHubOptions('Test', options as never)).toThrow(/^Test: /);
    },
  );
});
