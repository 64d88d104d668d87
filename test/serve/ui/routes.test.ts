import { request } from 'node:http';
import { describe, expect, test } from 'vitest';
import type { DashboardState } from '../../../src/serve/ui/state.js';
import { until } from '../../support/until.js';
import { dataUrl, photo, serving } from '../support/serving.js';

const KEY = 'a-key-of-the-tests';

/** Reads states of a stream until one passes. */
async function stateOf(
  url: string,
  headers: Record<string, string>,
  passes: (state: DashboardState) => boolean,
): Promise<DashboardState> {
  const controller = new AbortController();
  const response = await fetch(url, { headers, signal: controller.signal });
  let text = '';
  try {
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      text += Buffer.from(chunk).toString();
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const event = text.slice(0, end);
        text = text.slice(end + 2);
        if (!event.startsWith('data: ')) continue;
        const state = JSON.parse(event.slice(6)) as DashboardState;
        if (passes(state)) return state;
      }
    }
  } finally {
    controller.abort();
  }
  throw new Error('The stream has ended');
}

/** A request with a `Host` header of its own, which `fetch` does not send. */
function statusFor(url: string, headers: Record<string, string>): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { headers }, (response) => {
      response.destroy();
      resolve(response.statusCode);
    });
    asked.once('error', reject).end();
  });
}

describe('a server without keys', () => {
  const { url, get, post } = servingUi();

  test('shows a page under 40 KB that loads nothing and runs one script', async () => {
    const page = await get('/ui/');
    expect(page.status).toBe(200);
    expect(Buffer.byteLength(page.text)).toBeLessThan(40_000);
    const policy = page.headers.get('content-security-policy') ?? '';
    const nonce = /script-src 'nonce-([^']+)'/.exec(policy)?.[1];
    expect(policy).toMatch(/^default-src 'none'; /);
    expect(policy).not.toMatch(/unsafe|https?:|\*/);
    expect(page.text.match(/<script/g)).toHaveLength(1);
    expect(page.text).toContain(`<script type="module" nonce="${nonce}">`);
    expect(page.text).not.toMatch(/src="http|href="http|@import|url\(/);
    // Every page has a nonce of its own.
    expect((await get('/ui')).headers.get('content-security-policy')).not.toBe(policy);
  });

  test('sends the state at once and every second, without inputs and vectors', async () => {
    const picture = dataUrl(await photo('cat-1'));
    await post('/v1/embeddings', { model: 'default', input: picture });
    await post('/v1/embeddings', { model: 'default', input: 'data:image/jpeg;base64,AAAA' });
    const passes = ({ errors, models }: DashboardState): boolean => errors.length > 0 && models[0]?.succeeded !== 0;
    const state = await stateOf(url('/ui/events'), {}, passes);
    expect(state.models[0]).toMatchObject({ key: 'default', breaker: 'closed', queued: 0, succeeded: 2, failed: 1 });
    expect(state.workers).toMatchObject([{ model: 'default', inFlight: 0, restarts: 0 }]);
    expect(state.workers[0]?.memoryMb).toBeGreaterThan(20);
    expect(state.errors).toMatchObject([{ code: 'image_unsupported', count: 1 }]);
    expect(state.answers.map(({ isOk, kind }) => [isOk, kind])).toEqual([
      [false, 'picture'],
      [true, 'picture'],
    ]);
    expect(state.answers.every(({ thumbnail }) => thumbnail === undefined)).toBe(true);
    const text = JSON.stringify(state);
    expect(text).not.toContain('AAAA');
    expect(text).not.toContain(picture.slice(40, 80));
    expect(text.length).toBeLessThan(10_000);
  });

  test('shows nothing under a foreign name, and nothing to pages of other origins', async () => {
    expect(await statusFor(url('/ui/'), { host: 'evil.example' })).toBe(403);
    expect(await statusFor(url('/ui/events'), { host: 'evil.example' })).toBe(403);
    expect(await statusFor(url('/ui/events'), { 'sec-fetch-site': 'cross-site' })).toBe(403);
    expect(await statusFor(url('/ui/events'), { origin: 'http://evil.example' })).toBe(403);
    expect(await statusFor(url('/ui/'), { host: 'localhost' })).toBe(200);
  });

  test('does nothing on request', async () => {
    const refused = await post('/ui/actions', { action: 'warm', model: 'default' });
    expect([refused.status, refused.json.error.code]).toEqual([403, 'actions_need_keys']);
    expect((await post('/ui/session', {})).status).toBe(403);
    expect((await get('/openapi.json')).text).not.toContain('/ui');
  });
});

describe('a server with keys', () => {
  const { url, post, get, pool } = servingUi({ apiKeys: [KEY], uiThumbnails: true });
  const key = { authorization: `Bearer ${KEY}` };

  test('shows its state for a key, or for the cookie that a key was traded for', async () => {
    expect((await get('/ui/')).text).toContain('data-keys="yes"');
    expect((await get('/ui/events')).status).toBe(401);
    expect((await get('/ui/events', { cookie: 'millrace_ui=guessed' })).status).toBe(401);
    expect((await post('/ui/session', {}, { authorization: 'Bearer wrong-key' })).status).toBe(401);
    const session = await post('/ui/session', {}, key);
    expect(session.status).toBe(204);
    const cookie = (session.headers.get('set-cookie') as string).split(';')[0] as string;
    expect((await stateOf(url('/ui/events'), { cookie }, () => true)).hasKeys).toBe(true);
    // For the cookie nothing is done.
    expect((await post('/ui/actions', { action: 'evict', model: 'default' }, { cookie })).status).toBe(401);
    expect((await post('/v1/embeddings', { model: 'default', input: 'cat' }, { cookie })).status).toBe(401);
  });

  test('warms, evicts and restarts a served model for a key', async () => {
    const act = async (action: string, model = 'default', headers = {}) =>
      await post('/ui/actions', { action, model }, { ...key, ...headers });
    expect((await act('warm')).json).toEqual({ evicted: 0 });
    // The server itself asks the model what it is, as it starts.
    const before = await until('an idle worker', async () =>
      (await pool().workers()).find(({ inFlight }) => inFlight === 0),
    );
    expect((await act('restart')).json).toEqual({ evicted: 1 });
    const [after] = await pool().workers();
    expect(after?.pid).not.toBe(before.pid);
    expect((await act('evict')).json).toEqual({ evicted: 1 });
    expect(await pool().workers()).toEqual([]);
    expect((await act('stop')).status).toBe(400);
    expect((await act('warm', 'another')).status).toBe(404);
    expect((await act('warm', 'default', { origin: 'http://evil.example' })).status).toBe(403);
  });

  test('makes thumbnails of 64 pixels with uiThumbnails, while there is a viewer', async () => {
    const watching = stateOf(url('/ui/events'), key, ({ answers }) => answers[0]?.thumbnail !== undefined);
    const input = dataUrl(await photo('cat-1'));
    const embed = async () => await post('/v1/embeddings', { model: 'default', input }, key);
    let isShown = false;
    void watching.then(() => {
      isShown = true;
    });
    await until('a thumbnail', async () => {
      await embed();
      return isShown;
    });
    expect((await watching).answers[0]?.thumbnail).toMatch(/^data:image\/jpeg;base64,/);
  });
});

/** What `serving` gives, read when it is there. */
function servingUi(options: Parameters<typeof serving>[0] = {}) {
  const served = serving({ ui: true, ...options });
  const { url, get, post } = served;
  return { url, get, post, pool: () => served.pool };
}
