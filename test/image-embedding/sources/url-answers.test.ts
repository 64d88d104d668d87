import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isMillraceError } from '../../../src/core/index.js';
import { resolveImageLimits } from '../../../src/image-embedding/sources/limits.js';
import { bytesFromUrl } from '../../../src/image-embedding/sources/url-source.js';

/** What a server sends, byte for byte, by path; it then closes, unless that is left to the client. */
const answers = new Map<string, Buffer>();
const asked: string[] = [];
const server = createServer((socket) => {
  socket.on('error', () => {});
  socket.once('data', (request) => {
    const target = /^GET (\S+)/.exec(request.toString('latin1'))?.[1] ?? '';
    asked.push(target);
    const answer = answers.get(target) ?? Buffer.from('HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n');
    if (target.startsWith('/open')) socket.write(answer);
    else socket.end(answer);
  });
});
let origin = '';

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => void server.close());

function serve(path: string, head: string, body: Uint8Array = Buffer.alloc(0)): void {
  answers.set(path, Buffer.concat([Buffer.from(`${head}\r\ncontent-length: ${body.length}\r\n\r\n`, 'utf8'), body]));
}

const limits = resolveImageLimits({ url: { allowPrivateAddresses: true, connectTimeoutMs: 60_000 } }).url;
const load = async (path: string): Promise<string> =>
  Buffer.from(await bytesFromUrl(`${origin}${path}`, limits)).toString();

async function failure(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => new Error('none'),
    (reason: unknown) => reason,
  );
  return isMillraceError(error) ? `${error.code}: ${error.message}` : String(error);
}

describe('bytesFromUrl()', () => {
  it('undoes the codings that it knows, from the last to the first, and takes others for nothing done', async () => {
    const photo = Buffer.from('PHOTO '.repeat(50));
    const text = photo.toString();
    const table: readonly (readonly [string, Uint8Array])[] = [
      ...['', 'identity', 'none', 'base64', 'aws-chunked', 'utf-8', 'binary', 'UTF-8, identity'].map(
        (coding) => [coding, photo] as const,
      ),
      ...['gzip', 'x-gzip', ' GZIP ', 'aws-chunked,gzip', 'gzip, utf-8'].map(
        (coding) => [coding, gzipSync(photo)] as const,
      ),
      ['gzip, gzip', gzipSync(gzipSync(photo))],
      ['gzip, br', brotliCompressSync(gzipSync(photo))],
      ['br,deflate , gzip', gzipSync(deflateSync(brotliCompressSync(photo)))],
      ['deflate', deflateSync(photo)],
      ['deflate', deflateRawSync(photo)],
    ];
    for (const [coding, body] of table) {
      serve('/coded', `HTTP/1.1 200 OK\r\ncontent-encoding: ${coding}`, body);
      expect([coding, await load('/coded')]).toEqual([coding, text]);
    }
  });

  it('refuses a body that was compressed four times, and one of which any step is too large', async () => {
    serve('/often', 'HTTP/1.1 200 OK\r\ncontent-encoding: gzip, gzip, gzip, gzip', gzipSync('x'));
    expect(await failure(load('/often'))).toContain('ERR_URL_FETCH');
    const bomb = gzipSync(gzipSync(Buffer.alloc(50_000_000), { level: 9 }));
    serve('/bomb', 'HTTP/1.1 200 OK\r\ncontent-encoding: gzip, gzip', bomb);
    const small = resolveImageLimits({ url: { allowPrivateAddresses: true, maxBytes: 20_000 } }).url;
    expect(await failure(bytesFromUrl(`${origin}/bomb`, small))).toContain('ERR_IMAGE_TOO_LARGE');
  });

  it('takes what a proxy changed (203) like any other answer', async () => {
    serve('/proxied', 'HTTP/1.1 203 Non-Authoritative Information', Buffer.from('PHOTO'));
    expect(await load('/proxied')).toBe('PHOTO');
  });

  it('follows a redirect whose path is UTF-8, or latin1', async () => {
    serve('/utf-8', 'HTTP/1.1 302 Found\r\nlocation: /bild-größe.jpg');
    serve('/bild-gr%C3%B6%C3%9Fe.jpg', 'HTTP/1.1 200 OK', Buffer.from('PHOTO'));
    expect(await load('/utf-8')).toBe('PHOTO');
    // No UTF-8: each byte is a character of its own.
    answers.set(
      '/latin1',
      Buffer.from('HTTP/1.1 302 Found\r\nlocation: /gr\u00f6n.jpg\r\ncontent-length: 0\r\n\r\n', 'latin1'),
    );
    serve('/gr%C3%B6n.jpg', 'HTTP/1.1 200 OK', Buffer.from('GREEN'));
    expect(await load('/latin1')).toBe('GREEN');
    serve('/encoded', 'HTTP/1.1 302 Found\r\nlocation: /bild-gr%C3%B6%C3%9Fe.jpg');
    expect(await load('/encoded')).toBe('PHOTO');
    // What it becomes is checked like any other: full-width digits are those of an address.
    serve('/inwards', 'HTTP/1.1 302 Found\r\nlocation: http://１６９.254.169.254/');
    expect(await failure(load('/inwards'))).toContain('ERR_URL_FORBIDDEN');
  });

  it('takes 101 Switching Protocols for an answer, not for the beginning of one', async () => {
    for (const head of ['connection: upgrade\r\nupgrade: websocket\r\n', '']) {
      answers.set('/open', Buffer.from(`HTTP/1.1 101 Switching Protocols\r\n${head}\r\n`));
      expect(await failure(load('/open'))).toMatch(/^ERR_URL_FETCH: .*expected status 200, received 101$/);
    }
  });

  it('waits for the answer behind hints', async () => {
    answers.set(
      '/hints',
      Buffer.from('HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nPHOTO'),
    );
    expect(await load('/hints')).toBe('PHOTO');
  });
});

describe('bytesFromUrl() with a deny list', () => {
  const port = (): string => new URL(origin).port;
  const denying = (...denyHosts: string[]) =>
    resolveImageLimits({ url: { allowPrivateAddresses: true, denyHosts } }).url;
  const leadsTo = (...addresses: string[]) => ({
    resolveHost: async () =>
      addresses.map((address) => ({ address, family: address.includes(':') ? (6 as const) : (4 as const) })),
  });

  it('is not walked around by final dots', async () => {
    for (const host of [
      'evil.test',
      'evil.test.',
      'EVIL.test.',
      'evil.test..',
      'evil.test...',
      'a..evil.test',
      '.evil.test',
    ]) {
      const found = await failure(
        bytesFromUrl(`http://${host}:${port()}/`, denying('evil.test', '*.evil.test'), leadsTo('127.0.0.1')),
      );
      expect([host, found]).toEqual([host, expect.stringContaining('ERR_URL_FORBIDDEN')]);
    }
    expect(await failure(bytesFromUrl(`http://good.test..:${port()}/`, denying(), leadsTo('127.0.0.1')))).toContain(
      'empty label',
    );
  });

  it('holds a denied address against every form of it, and against what a name leads to', async () => {
    const before = asked.length;
    const forms = [
      '127.0.0.1',
      '::ffff:127.0.0.1',
      '::ffff:7f00:1',
      '::127.0.0.1',
      '64:ff9b::7f00:1',
      '64:ff9b:1::7f00:1',
      '2002:7f00:1::',
      '::ffff:0:127.0.0.1',
    ];
    for (const form of forms) {
      const inUrl = form.includes(':') ? `[${form}]` : form;
      for (const [url, options] of [
        [`http://${inUrl}:${port()}/`, {}],
        [`http://name.test:${port()}/`, leadsTo(form)],
        [`http://name.test:${port()}/`, leadsTo('127.0.0.2', form)],
      ] as const) {
        for (const pattern of ['127.0.0.1', '0x7f.1', '::ffff:127.0.0.1']) {
          const found = await failure(bytesFromUrl(url, denying(pattern), options));
          expect([form, url, pattern, found]).toEqual([
            form,
            url,
            pattern,
            expect.stringContaining('ERR_URL_FORBIDDEN'),
          ]);
          expect(found).toContain('deny list');
        }
      }
    }
    expect(await failure(bytesFromUrl(`http://name.test/`, denying('fd00::1'), leadsTo('FD00:0:0::0001')))).toContain(
      'deny list',
    );
    expect(asked.length).toBe(before);
  });

  it('leaves addresses alone that are not on it', async () => {
    serve('/photo', 'HTTP/1.1 200 OK', Buffer.from('PHOTO'));
    const bytes = await bytesFromUrl(
      `http://name.test:${port()}/photo`,
      denying('127.0.0.2', '10.0.0.1'),
      leadsTo('127.0.0.1'),
    );
    expect(Buffer.from(bytes).toString()).toBe('PHOTO');
  });
});

describe('bytesFromUrl() with private addresses open', () => {
  const secrets = [
    ...[
      '169.254.169.254',
      '169.254.1.1',
      '168.63.129.16',
      '100.100.100.200',
      '192.0.0.192',
      'fe80::1',
      'fd00:ec2::254',
    ],
    ...['::ffff:169.254.169.254', '64:ff9b::a9fe:a9fe', '2002:a9fe:a9fe::', 'fe80::1%lo'],
  ];

  it('keeps what is link-local and the metadata of clouds shut, by address and by name', async () => {
    for (const address of secrets) {
      const options = {
        resolveHost: async () => [{ address, family: address.includes(':') ? (6 as const) : (4 as const) }],
      };
      const urls = [
        'http://name.test/',
        ...(address.includes('%') ? [] : [`http://${address.includes(':') ? `[${address}]` : address}/`]),
      ];
      for (const url of urls) {
        expect([url, address, await failure(bytesFromUrl(url, limits, options))]).toEqual([
          url,
          address,
          expect.stringContaining('ERR_URL_FORBIDDEN'),
        ]);
      }
    }
  });

  it('opens one of them that the allow list has as an address', async () => {
    const url = { allowPrivateAddresses: true, allowHosts: ['169.254.7.7', 'camera.test'], connectTimeoutMs: 300 };
    const named = resolveImageLimits({ url }).url;
    const dial = () => {
      throw Object.assign(new Error('dialled'), { code: 'EDIALLED' });
    };
    const resolveHost = async () => [{ address: '169.254.7.7', family: 4 as const }];
    for (const host of ['169.254.7.7', 'camera.test']) {
      expect([host, await failure(bytesFromUrl(`http://${host}/`, named, { resolveHost, dial }))]).toEqual([
        host,
        expect.stringContaining('EDIALLED'),
      ]);
    }
    const others = resolveImageLimits({ url: { ...url, allowHosts: ['camera.test'] } }).url;
    expect(await failure(bytesFromUrl('http://camera.test/', others, { resolveHost, dial }))).toContain(
      'ERR_URL_FORBIDDEN',
    );
  });
});
