import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isMillraceError } from '../../../src/core/index.js';
import { type ImageLimitOptions, resolveImageLimits } from '../../../src/image-embedding/sources/limits.js';
import { isPublicAddress } from '../../../src/image-embedding/sources/url-policy.js';
import { bytesFromUrl, type FetchOptions } from '../../../src/image-embedding/sources/url-source.js';

let server: Server;
let port: number;
const seen: IncomingMessage[] = [];
const routes = new Map<string, (request: IncomingMessage, response: ServerResponse) => void>();

beforeAll(async () => {
  server = createServer((request, response) => {
    seen.push(request);
    const route = routes.get((request.url as string).split('?')[0] as string);
    if (route !== undefined) route(request, response);
    else response.writeHead(404).end('no');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const toServer: FetchOptions = {
  resolveHost: async () => [{ address: '127.0.0.1', family: 4 }],
  // The server of this test plays a public one; every other address is judged as usual.
  isAllowed: (address) => address === '127.0.0.1' || isPublicAddress(address),
};

function fetchFrom(path: string, url: ImageLimitOptions['url'] = {}, options: FetchOptions = {}): Promise<Uint8Array> {
  return bytesFromUrl(`http://photos.example:${port}${path}`, resolveImageLimits({ url }).url, {
    ...toServer,
    ...options,
  });
}

async function failure(promise: Promise<unknown>): Promise<{ code: string; message: string; fault: string }> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!isMillraceError(error)) throw new Error(`expected a Millrace error, received ${String(error)}`);
  return { code: error.code, message: error.message, fault: error.fault };
}

describe('bytesFromUrl() refuses before anything is dialled', () => {
  const table: readonly (readonly [string, string])[] = [
    ['loopback', 'http://127.0.0.1/'],
    ['loopback, elsewhere in 127/8', 'http://127.255.3.7/x.png'],
    ['loopback, shortened', 'http://127.1/'],
    ['loopback, decimal', 'http://2130706433/'],
    ['loopback, hexadecimal', 'http://0x7f000001/'],
    ['loopback, hexadecimal parts', 'http://0x7f.0x0.0x0.0x1/'],
    ['loopback, octal', 'http://0177.0.0.1/'],
    ['loopback, octal in full', 'http://017700000001/'],
    ['loopback, mixed', 'http://0x7f.1/'],
    ['loopback, full-width digits', 'http://１２７.０.０.１/'],
    ['loopback, circled digits', 'http://①②⑦.⓪.⓪.①/'],
    ['loopback, ideographic full stops', 'http://127。0。0。1/'],
    ['loopback, percent-encoded', 'http://%31%32%37.0.0.1/'],
    ['loopback, final dot', 'http://127.0.0.1./'],
    ['loopback, backslashes', 'http:\\\\127.0.0.1\\x'],
    ['loopback, no slashes', 'http:127.0.0.1/x'],
    ['loopback, tab inside', 'http://127.0.\t0.1/'],
    ['loopback by name', 'http://localhost/'],
    ['loopback by name, capitals', 'http://LOCALHOST/'],
    ['loopback by name, final dot', 'http://localhost./'],
    ['a name below localhost', 'http://images.localhost/'],
    ['a name of the local network', 'http://printer.local/'],
    ['a name of the cloud', 'http://metadata.google.internal/computeMetadata/v1/'],
    ['this network', 'http://0.0.0.0/'],
    ['this network, zero', 'http://0/'],
    ['private 10/8', 'http://10.0.0.1/'],
    ['private 172.16/12', 'http://172.31.255.255/'],
    ['private 192.168/16', 'https://192.168.1.1/'],
    ['carrier-grade NAT', 'http://100.64.0.1/'],
    ['a cloud in carrier-grade NAT', 'http://100.100.100.200/latest/meta-data/'],
    ['link-local, metadata', 'http://169.254.169.254/latest/meta-data/'],
    ['link-local, metadata, decimal', 'http://2852039166/'],
    ['link-local, metadata, octal', 'http://0251.0376.0251.0376/'],
    ['the wire server of a cloud', 'http://168.63.129.16/'],
    ['benchmarking', 'http://198.18.0.1/'],
    ['documentation', 'http://203.0.113.9/'],
    ['6to4 relay', 'http://192.88.99.1/'],
    ['multicast', 'http://224.0.0.1/'],
    ['reserved', 'http://240.0.0.1/'],
    ['broadcast', 'http://255.255.255.255/'],
    ['IPv6 loopback', 'http://[::1]/'],
    ['IPv6 loopback in full', 'http://[0:0:0:0:0:0:0:1]:80/'],
    ['IPv6 unspecified', 'http://[::]/'],
    ['IPv4-mapped loopback', 'http://[::ffff:127.0.0.1]/'],
    ['IPv4-mapped metadata', 'http://[::ffff:a9fe:a9fe]/'],
    ['IPv4-compatible loopback', 'http://[::127.0.0.1]/'],
    ['NAT64 to loopback', 'http://[64:ff9b::7f00:1]/'],
    ['local NAT64', 'http://[64:ff9b:1::a00:1]/'],
    ['6to4 to private', 'http://[2002:a00:1::]/'],
    ['Teredo', 'http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/'],
    ['IPv6 documentation', 'http://[2001:db8::1]/'],
    ['unique local', 'http://[fd00:ec2::254]/'],
    ['IPv6 link-local', 'http://[fe80::1]/'],
    ['IPv6 site-local', 'http://[fec0::1]/'],
    ['IPv6 multicast', 'http://[ff02::1]/'],
    ['a file', 'file:///etc/passwd'],
    ['a data URL', 'data:image/png;base64,AAAA'],
    ['ftp', 'ftp://example.com/a.png'],
    ['gopher', 'gopher://example.com/_x'],
    ['a blob', 'blob:https://example.com/1'],
    ['JavaScript', 'javascript:alert(1)'],
    ['a user name', 'http://me@example.com/'],
    ['a password', 'http://:secret@example.com/'],
    ['a public host that is a user name', 'http://example.com@127.0.0.1/'],
    ['a public host behind a backslash', 'http://example.com\\@127.0.0.1/'],
    ['a path', '/etc/passwd'],
    ['a relative path', 'photos/cat.jpg'],
    ['a Windows path', 'C:\\photos\\cat.jpg'],
    ['nothing', ''],
    ['no host', 'http://'],
    ['mail', 'http://example.com:25/'],
    ['ssh', 'http://example.com:22/'],
    ['irc', 'https://example.com:6667/'],
  ];

  it(`holds for ${table.length} hostile URLs`, async () => {
    expect(table.length).toBeGreaterThanOrEqual(40);
    const limits = resolveImageLimits().url;
    for (const [name, url] of table) {
      let lookups = 0;
      const resolveHost = async (): Promise<never[]> => {
        lookups++;
        return [];
      };
      const { code, fault } = await failure(bytesFromUrl(url, limits, { resolveHost }));
      const isPublicName = url === 'http://example.com\\@127.0.0.1/';
      // A backslash ends the host, as in browsers: this one really is example.com, which this resolver does not know.
      expect([name, code], url).toEqual([name, isPublicName ? 'ERR_URL_FETCH' : 'ERR_URL_FORBIDDEN']);
      expect(lookups, name).toBe(isPublicName ? 1 : 0);
      if (!isPublicName) expect(fault).toBe('caller');
    }
  });

  it('refuses a name by any one of its addresses', async () => {
    for (const address of [
      '127.0.0.1',
      '10.1.2.3',
      '169.254.169.254',
      '::1',
      '::ffff:10.0.0.1',
      'fe80::1%eth0',
      'junk',
    ]) {
      const resolveHost = async () => [
        { address: '93.184.216.34', family: 4 as const },
        { address, family: 4 as const },
      ];
      const limits = resolveImageLimits().url;
      const { code } = await failure(bytesFromUrl('http://rebind.example/', limits, { resolveHost }));
      expect([address, code]).toEqual([address, 'ERR_URL_FORBIDDEN']);
    }
  });

  it('holds hosts against the lists, the deny list first', async () => {
    const cases: readonly (readonly [string, ImageLimitOptions['url'], boolean])[] = [
      ['http://a.example/', { allowHosts: ['a.example'] }, true],
      ['http://A.EXAMPLE./', { allowHosts: ['a.example'] }, true],
      ['http://b.example/', { allowHosts: ['a.example'] }, false],
      ['http://x.a.example/', { allowHosts: ['a.example'] }, false],
      ['http://x.a.example/', { allowHosts: ['*.a.example'] }, true],
      ['http://a.example/', { allowHosts: ['*.a.example'] }, false],
      ['http://evila.example/', { allowHosts: ['*.a.example'] }, false],
      ['http://x.a.example/', { allowHosts: ['*.a.example'], denyHosts: ['x.a.example'] }, false],
      ['http://bücher.example/', { allowHosts: ['bücher.example'] }, true],
      ['http://a.example/', { denyHosts: ['*.example'] }, false],
    ];
    for (const [url, lists, isAllowed] of cases) {
      const resolveHost = async (): Promise<never[]> => [];
      const { code } = await failure(bytesFromUrl(url, resolveImageLimits({ url: lists }).url, { resolveHost }));
      expect([url, code]).toEqual([url, isAllowed ? 'ERR_URL_FETCH' : 'ERR_URL_FORBIDDEN']);
    }
  });
});

describe('bytesFromUrl()', () => {
  it('gives the body, and sends neither credentials nor cookies', async () => {
    routes.set('/photo', (_request, response) => response.writeHead(200, { 'set-cookie': 'a=b' }).end('PHOTO'));
    expect(Buffer.from(await fetchFrom('/photo?size=1#top')).toString()).toBe('PHOTO');
    await fetchFrom('/photo');
    const { headers, url } = seen.at(-1) as IncomingMessage;
    expect(headers.host).toBe(`photos.example:${port}`);
    expect(url).toBe('/photo');
    expect(Object.keys(headers).sort()).toEqual(['accept', 'accept-encoding', 'connection', 'host', 'user-agent']);
  });

  it('fetches from loopback when private addresses are allowed', async () => {
    const limits = resolveImageLimits({ url: { allowPrivateAddresses: true } }).url;
    expect(Buffer.from(await bytesFromUrl(`http://127.0.0.1:${port}/photo`, limits)).toString()).toBe('PHOTO');
    expect(Buffer.from(await bytesFromUrl(new URL(`http://localhost:${port}/photo`), limits)).toString()).toBe('PHOTO');
  });

  it('asks the resolver once, and dials what was checked, when the answer changes (DNS rebinding)', async () => {
    let calls = 0;
    const resolveHost = async () => {
      calls++;
      return [{ address: calls === 1 ? '127.0.0.1' : '169.254.169.254', family: 4 as const }];
    };
    const body = await fetchFrom('/photo', {}, { resolveHost });
    expect(Buffer.from(body).toString()).toBe('PHOTO');
    expect(calls).toBe(1);
    // A second fetch resolves anew, and is refused.
    expect((await failure(fetchFrom('/photo', {}, { resolveHost }))).code).toBe('ERR_URL_FORBIDDEN');
    expect(calls).toBe(2);
  });

  it('follows redirects, each checked like the first URL', async () => {
    const to = (location: string) => (_request: IncomingMessage, response: ServerResponse) =>
      void response.writeHead(302, { location }).end();
    routes.set('/1', to('/photo'));
    routes.set('/2', to(`http://other.example:${port}/1`));
    routes.set('/3', to('/2'));
    routes.set('/4', to('/3'));
    routes.set('/loop', to('/loop'));
    expect(Buffer.from(await fetchFrom('/3')).toString()).toBe('PHOTO');
    expect((await failure(fetchFrom('/4'))).message).toContain('at most 3 redirects');
    expect((await failure(fetchFrom('/loop'))).code).toBe('ERR_URL_FETCH');
    expect((await failure(fetchFrom('/1', { maxRedirects: 0 }))).code).toBe('ERR_URL_FETCH');
    for (const location of [
      'http://169.254.169.254/latest/meta-data/',
      'http://[::ffff:169.254.169.254]/',
      'http://localhost/',
      'http://me:secret@photos.example/',
      'file:///etc/passwd',
      'data:image/png;base64,AAAA',
      '//10.0.0.1/x',
      'http://photos.example:25/',
    ]) {
      routes.set('/hostile', to(location));
      const { code, message } = await failure(fetchFrom('/hostile'));
      expect([location, code]).toEqual([location, 'ERR_URL_FORBIDDEN']);
      expect(message).not.toContain('secret');
    }
    routes.set('/nowhere', (_request, response) => void response.writeHead(302).end());
    expect((await failure(fetchFrom('/nowhere'))).message).toContain('names no location');
  });

  it('resolves the host of a redirect anew, and refuses it by its address', async () => {
    routes.set(
      '/away',
      (_request, response) => void response.writeHead(307, { location: 'http://evil.example/' }).end(),
    );
    const resolveHost = async (host: string) => [
      { address: host === 'evil.example' ? '192.168.0.1' : '127.0.0.1', family: 4 as const },
    ];
    expect((await failure(fetchFrom('/away', {}, { resolveHost }))).message).toContain('192.168.0.1');
  });

  it('stops at the cap, announced or not', async () => {
    routes.set(
      '/announced',
      (_request, response) => void response.writeHead(200, { 'content-length': 5000 }).write('x'),
    );
    let written = 0;
    routes.set('/endless', (_request, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(10_000))) written += 10_000;
      };
      response.on('drain', more);
      more();
    });
    expect((await failure(fetchFrom('/announced', { maxBytes: 4999 }))).code).toBe('ERR_IMAGE_TOO_LARGE');
    expect((await failure(fetchFrom('/endless', { maxBytes: 100_000 }))).code).toBe('ERR_IMAGE_TOO_LARGE');
    expect(written).toBeLessThan(20_000_000);
    routes.set('/fits', (_request, response) => void response.end(Buffer.alloc(5000)));
    expect((await fetchFrom('/fits', { maxBytes: 5000 })).byteLength).toBe(5000);
  });

  it('stops at the cap after decompression too', async () => {
    routes.set(
      '/gzip',
      (_request, response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('PHOTO')),
    );
    routes.set(
      '/bomb',
      (_request, response) =>
        void response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(50_000_000))),
    );
    routes.set(
      '/broken',
      (_request, response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end('not gzip'),
    );
    routes.set(
      '/strange',
      (_request, response) => void response.writeHead(200, { 'content-encoding': 'zstd, gzip' }).end('x'),
    );
    expect(Buffer.from(await fetchFrom('/gzip')).toString()).toBe('PHOTO');
    expect((await failure(fetchFrom('/bomb', { maxBytes: 1_000_000 }))).code).toBe('ERR_IMAGE_TOO_LARGE');
    expect((await failure(fetchFrom('/broken'))).code).toBe('ERR_URL_FETCH');
    expect((await failure(fetchFrom('/strange'))).code).toBe('ERR_URL_FETCH');
  });

  it('gives up on a host that does not answer, and on a body that does not end', async () => {
    routes.set('/silent', () => {});
    routes.set('/drip', (_request, response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write('x'), 20);
      response.on('close', () => clearInterval(timer));
    });
    expect((await failure(fetchFrom('/silent', { connectTimeoutMs: 100 }))).message).toContain(
      'no answer within 100 ms',
    );
    expect((await failure(fetchFrom('/drip', { bodyTimeoutMs: 150 }))).message).toContain('within 150 ms');
    const never = (): Promise<never> => new Promise(() => {});
    const slow = await failure(fetchFrom('/photo', { connectTimeoutMs: 50 }, { resolveHost: never }));
    expect(slow.code).toBe('ERR_URL_FETCH');
  });

  it('names what else can go wrong', async () => {
    expect((await failure(fetchFrom('/missing'))).message).toContain('expected status 200, received 404');
    routes.set('/empty', (_request, response) => void response.end());
    expect((await failure(fetchFrom('/empty'))).code).toBe('ERR_IMAGE_CORRUPT');
    routes.set('/cut', (_request, response) => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('half', () => response.destroy());
    });
    expect((await failure(fetchFrom('/cut'))).code).toBe('ERR_URL_FETCH');
    routes.set('/hangup', (request) => void request.socket.destroy());
    expect((await failure(fetchFrom('/hangup'))).code).toBe('ERR_URL_FETCH');
    const fail = async (): Promise<never> => {
      throw Object.assign(new Error('getaddrinfo ENOTFOUND'), { code: 'ENOTFOUND' });
    };
    const unknown = await failure(fetchFrom('/photo', {}, { resolveHost: fail }));
    expect(unknown).toMatchObject({ code: 'ERR_URL_FETCH', fault: 'system' });
    const limits = resolveImageLimits({ url: { allowPrivateAddresses: true } }).url;
    expect((await failure(bytesFromUrl('http://127.0.0.1:1/', limits))).code).toBe('ERR_URL_FORBIDDEN');
    expect((await failure(bytesFromUrl('http://127.0.0.1:8/', limits))).code).toBe('ERR_URL_FETCH');
  });

  it('rejects with the reason of its signal, and closes the connection', async () => {
    for (const path of ['/silent', '/drip']) {
      const before = seen.length;
      const controller = new AbortController();
      const pending = fetchFrom(path, {}, { signal: controller.signal });
      pending.catch(() => {});
      while (seen.length === before) await new Promise((resolve) => setImmediate(resolve));
      const { socket } = seen.at(-1) as IncomingMessage;
      const closed = new Promise((resolve) => socket.once('close', resolve));
      controller.abort(new Error('enough'));
      await expect(pending).rejects.toThrow('enough');
      await closed;
    }
    await expect(fetchFrom('/photo', {}, { signal: AbortSignal.abort(new Error('no')) })).rejects.toThrow('no');
  });
});
