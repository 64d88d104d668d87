import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createServeApp } from '../../src/serve/index.js';
import { exchange } from './support/exchange.js';
import { dataUrl, photo, serving } from './support/serving.js';

const KEY = 'a-long-secret';
const at = serving({ apiKeys: [KEY, 'another-secret'], allowedHosts: ['pictures.example'], maxBodyBytes: 3_000_000 });
const withKey = { authorization: `Bearer ${KEY}` };

/** A request with a head of one's own. */
function raw(head: readonly string[], body: string | Uint8Array = ''): (string | Uint8Array)[] {
  return [`${head.join('\r\n')}\r\n\r\n`, body];
}

describe('keys', () => {
  test('every route that embeds or tells of the server needs one', async () => {
    const { paths } = (await at.get('/openapi.json')).json as {
      paths: Record<string, Record<string, { security: unknown[] }>>;
    };
    const open: string[] = [];
    for (const [path, methods] of Object.entries(paths)) {
      for (const [method, { security }] of Object.entries(methods)) {
        const answer = await fetch(at.url(path.replace('{id}', 'default')), { method: method.toUpperCase() });
        if (security.length === 0) open.push(`${method} ${path}`);
        else {
          expect([answer.status, answer.headers.get('www-authenticate')], path).toEqual([
            401,
            expect.stringContaining('Bearer'),
          ]);
        }
      }
    }
    expect(open.sort()).toEqual([
      'get /',
      'get /.well-known/live',
      'get /.well-known/ready',
      'get /api/version',
      'get /health',
      'get /meta',
      'get /openapi.json',
      'get /ping',
    ]);
  });

  test('one of several is taken, in each header that clients use, and nothing that is near to one', async () => {
    for (const headers of [
      withKey,
      { authorization: 'bearer another-secret' },
      { 'x-api-key': KEY },
      { 'api-key': KEY },
    ]) {
      expect((await at.get('/v1/models', headers as Record<string, string>)).status, JSON.stringify(headers)).toBe(200);
    }
    const near = [
      '',
      'undefined',
      KEY,
      `Basic ${KEY}`,
      `Bearer ${KEY}x`,
      `Bearer ${KEY.slice(0, -1)}`,
      'Bearer',
      `Bearer ${KEY.toUpperCase()}`,
    ];
    for (const authorization of near) {
      const { status, json } = await at.get('/v1/models', { authorization });
      expect([status, json.error.code], authorization).toEqual([401, 'invalid_api_key']);
    }
    expect((await at.get('/v1/models?api_key=a-long-secret')).status).toBe(401);
  });

  test('no body is read, and no model run, without one', async () => {
    const { accepted } = at.pool.stats();
    const head = ['POST /v1/embeddings HTTP/1.1', 'host: x', 'content-length: 2000000'];
    // The answer comes though the body never does.
    expect((await exchange(at.server.url, raw(head))).status).toBe(401);
    expect(at.pool.stats().accepted).toBe(accepted);
  });
});

describe('pages of other origins', () => {
  test('get no permission to read an answer', async () => {
    for (const method of ['GET', 'OPTIONS']) {
      const answer = await fetch(at.url('/v1/models'), {
        method,
        headers: { ...withKey, origin: 'https://evil.example' },
      });
      expect([...answer.headers.keys()].filter((name) => name.startsWith('access-control-'))).toEqual([]);
    }
  });
});

describe('bodies', () => {
  test('above the cap are refused by their declared length, by their real one, and compressed ones at all', async () => {
    const large = ['POST /v1/embeddings HTTP/1.1', 'host: x', `authorization: Bearer ${KEY}`];
    const declared = await exchange(at.server.url, raw([...large, 'content-length: 3000001']));
    expect([declared.status, JSON.parse(declared.body).error.code]).toEqual([413, 'body_too_large']);
    const chunk = `100000\r\n${'a'.repeat(0x100000)}\r\n`;
    const chunked = await exchange(at.server.url, [
      ...raw([...large, 'transfer-encoding: chunked']),
      chunk,
      chunk,
      chunk,
      '0\r\n\r\n',
    ]);
    expect(chunked.status).toBe(413);
    const zipped = await at.post('/v1/embeddings', gzipSync('{"input":"cat"}'), {
      ...withKey,
      'content-encoding': 'gzip',
    });
    expect([zipped.status, zipped.json.error.message]).toEqual([400, expect.stringContaining('compressed')]);
    expect((await at.post('/v1/embeddings', { input: 'cat' }, withKey)).status).toBe(200);
  });

  test('that are no JSON, or too much of it, are refused without an echo of them', async () => {
    const secret = 'do-not-log-me';
    const cases: [string, number, string][] = [
      [`{"input": ${secret}}`, 400, 'invalid_json'],
      ['{"input":', 400, 'invalid_json'],
      [`{"input":"${'a'.repeat(20)}\u0000"}`, 400, 'invalid_json'],
      ['['.repeat(200_000), 400, 'invalid_json'],
      ['[]', 400, 'invalid'],
      [`{"input":${'['.repeat(100)}${']'.repeat(100)}}`, 413, 'body_too_complex'],
      [`{"input":[${'1,'.repeat(500_000)}1]}`, 413, 'body_too_complex'],
      [
        `{"input":"cat","pad":${JSON.stringify(Array.from({ length: 30_000 }, (_, index) => index))}}`,
        413,
        'body_too_complex',
      ],
      [JSON.stringify({ input: 'cat', model: { name: secret } }), 400, 'invalid_value'],
      [JSON.stringify({ input: 'cat', encoding_format: 'x'.repeat(900_000) }), 400, 'invalid_value'],
    ];
    for (const [body, status, code] of cases) {
      const answer = await at.post('/v1/embeddings', body, withKey);
      expect([answer.status, answer.json.error.code], body.slice(0, 60)).toEqual([status, code]);
      expect(answer.text.length).toBeLessThan(600);
      if (code === 'invalid_json') expect(answer.text).not.toContain(secret);
    }
    const binary = await at.post('/v1/embeddings', Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), withKey);
    expect(binary.json.error.code).toBe('invalid_json');
  });

  test('change no prototype', async () => {
    const body = '{"input":"cat","__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}';
    expect((await at.post('/v1/embeddings', body, withKey)).status).toBe(200);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });

  test('hold bombs and other files that are no pictures, which are refused by what they are', async () => {
    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>');
    // A PNG that says it has 65,000 x 65,000 pixels.
    const png = Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex');
    const size = Buffer.alloc(17);
    size.writeUInt32BE(65_000, 0);
    size.writeUInt32BE(65_000, 4);
    size.set([8, 2, 0, 0, 0], 8);
    for (const bytes of [svg, Buffer.concat([png, size]), Buffer.from('%PDF-1.7'), Buffer.alloc(64)]) {
      const input = `data:image/png;base64,${bytes.toString('base64')}`;
      const { status, json } = await at.post('/v1/embeddings', { input }, withKey);
      expect([status, json.error.param]).toEqual([400, 'input']);
    }
  });
});

describe('paths, URLs and models', () => {
  test('of the server, of other machines and of the hub are not taken from a request', async () => {
    const { port } = new URL(at.server.url);
    const values = [
      '/etc/passwd',
      'file:///etc/passwd',
      `http://127.0.0.1:${port}/health`,
      'http://169.254.169.254/latest',
      '\\\\host\\share',
    ];
    for (const image of values) {
      const { status, json } = await at.post('/v1/embeddings', { input: [{ image }] }, withKey);
      expect([status, json.error.code], image).toEqual([
        400,
        expect.stringMatching(/^(urls_not_allowed|base64_invalid|image_unsupported)$/),
      ]);
    }
    for (const model of [
      'Xenova/clip-vit-base-patch32',
      '/etc',
      '../models',
      'mobilenet-v1-0.25',
      '__proto__',
      'toString',
    ]) {
      const { status, json } = await at.post('/v1/embeddings', { model, input: 'cat' }, withKey);
      expect([status, json.error.code], model).toEqual([404, 'model_not_found']);
    }
  });

  test('a path that is odd is answered like any unknown one', async () => {
    for (const path of [
      '//evil.example/',
      '/../../etc/passwd',
      '/%2e%2e/%2e%2e/etc/passwd',
      '/v1/models/%ff',
      '/%',
      '/v1/embeddings/../embeddings/x',
    ]) {
      const { status } = await exchange(
        at.server.url,
        raw([`GET ${path} HTTP/1.1`, 'host: x', `authorization: Bearer ${KEY}`]),
      );
      expect([400, 404], path).toContain(status);
    }
    const absolute = await exchange(at.server.url, raw(['GET http://evil.example/ping HTTP/1.1', 'host: x']));
    expect(absolute.status).toBe(200);
  });

  test('an id of a request is kept where it is sound, and replaced where it is not', async () => {
    const sound = await at.get('/ping', { 'x-request-id': 'abc-123' });
    expect(sound.headers.get('x-request-id')).toBe('abc-123');
    const odd = await exchange(
      at.server.url,
      raw(['GET /ping HTTP/1.1', 'host: x', 'x-request-id: <script>alert(1)</script>']),
    );
    expect(odd.headers['x-request-id']).toMatch(/^[\da-f-]{36}$/);
    expect(at.log.at(-1)?.id).toBe(odd.headers['x-request-id']);
  });

  test('a route of another method says which it takes', async () => {
    const answer = await fetch(at.url('/v1/embeddings'), { method: 'DELETE' });
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'POST']);
  });
});

describe('URLs, where they are allowed', () => {
  let inner: Server;
  let asked = 0;
  beforeAll(async () => {
    inner = createServer((_, response) => {
      asked++;
      response.end('inside');
    });
    await new Promise<void>((resolve) => inner.listen(0, '127.0.0.1', resolve));
  });
  afterAll(() => inner.close());

  test('lead to no private address, under any of its names', async () => {
    const app = createServeApp(at.pool, { allowUrls: true });
    const { port } = inner.address() as AddressInfo;
    const hosts = [
      `127.0.0.1:${port}`,
      `localhost:${port}`,
      `[::1]:${port}`,
      `2130706433:${port}`,
      `0x7f.1:${port}`,
      `[::ffff:127.0.0.1]:${port}`,
      '169.254.169.254',
      '10.0.0.1',
      '0.0.0.0',
    ];
    for (const host of hosts) {
      const body = JSON.stringify({ input: [{ image: `http://${host}/cat.jpg` }] });
      const answer = await app.fetch(new Request('http://localhost/v1/embeddings', { method: 'POST', body }));
      const { error } = (await answer.json()) as { error: { code: string; param: string } };
      expect([answer.status, error.code, error.param], host).toEqual([400, 'url_forbidden', 'input[0]']);
    }
    expect(asked).toBe(0);
    await app.close();
  });

  test('are still texts where a text is meant', async () => {
    const app = createServeApp(at.pool, { allowUrls: true });
    const body = JSON.stringify({ input: 'http://127.0.0.1/cat.jpg' });
    const answer = await app.fetch(new Request('http://localhost/v1/embeddings', { method: 'POST', body }));
    expect(((await answer.json()) as { error: { code: string } }).error.code).toBe('word_unknown');
    await app.close();
  });
});

test('the log has a line for each request, without keys and inputs', async () => {
  const before = at.log.length;
  await at.post('/v1/embeddings', { input: dataUrl(await photo('cat-1')) }, withKey);
  await at.post('/v1/embeddings', { input: 'an unknown thing' }, withKey);
  const lines = at.log.slice(before);
  expect(lines.map(({ method, route, status, code }) => [method, route, status, code])).toEqual([
    ['POST', '/v1/embeddings', 200, undefined],
    ['POST', '/v1/embeddings', 400, 'word_unknown'],
  ]);
  expect(JSON.stringify(lines)).not.toMatch(/secret|unknown thing|base64/);
});
