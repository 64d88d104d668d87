import { createSocket } from 'node:dgram';
import type { AddressInfo } from 'node:net';
import { Resolver } from 'node:dns/promises';
import { expect, it, vi } from 'vitest';
import { HostResolver, type ResolverParts } from '../../../src/image-embedding/sources/host-resolver.js';
import type { HostAddress } from '../../../src/image-embedding/sources/url-policy.js';

const v4 = (address: string): HostAddress => ({ address, family: 4 });
const never = (): Promise<never> => new Promise(() => {});
const fails = (code: string) => (): Promise<never> => Promise.reject(Object.assign(new Error(code), { code }));

function make(parts: ResolverParts = {}): HostResolver {
  return new HostResolver({
    resolve4: async (name) => (name.startsWith('dead') ? never() : ['192.0.2.1']),
    resolve6: fails('ENODATA'),
    lookup: fails('ENOTFOUND'),
    readHosts: async () => '',
    ...parts,
  });
}

it('HostResolver.resolve() answers one name while any number of others are dead', async () => {
  const resolver = make({ resolve6: async (name) => (name.startsWith('dead') ? never() : ['2001:db8::1']) });
  for (let index = 0; index < 100; index++) void resolver.resolve(`dead-${index}.example`);
  expect(await resolver.resolve('good.example')).toEqual([v4('192.0.2.1'), { address: '2001:db8::1', family: 6 }]);
});

it('HostResolver.resolve() shares an answer for a while, and one that is still awaited', async () => {
  let now = 0;
  const resolve4 = vi.fn(async () => ['192.0.2.1']);
  const resolver = make({ resolve4, now: () => now });
  await Promise.all([resolver.resolve('a.example'), resolver.resolve('A.example')]);
  now = 29_000;
  await resolver.resolve('a.example');
  expect(resolve4).toHaveBeenCalledTimes(1);
  now = 31_000;
  await resolver.resolve('a.example');
  expect(resolve4).toHaveBeenCalledTimes(2);
});

it('HostResolver.resolve() asks again soon after a failure', async () => {
  let now = 0;
  const resolve4 = vi.fn(fails('ETIMEOUT'));
  const resolver = make({ resolve4, resolve6: fails('ETIMEOUT'), now: () => now });
  await expect(resolver.resolve('a.example')).rejects.toThrow('ETIMEOUT');
  now = 1_000;
  await expect(resolver.resolve('a.example')).rejects.toThrow('ETIMEOUT');
  expect(resolve4).toHaveBeenCalledTimes(1);
  now = 6_000;
  await expect(resolver.resolve('a.example')).rejects.toThrow('ETIMEOUT');
  expect(resolve4).toHaveBeenCalledTimes(2);
});

it('HostResolver.resolve() does not wait long for a family of addresses that nobody answers for', async () => {
  const resolver = make({ resolve6: never });
  expect(await resolver.resolve('a.example')).toEqual([v4('192.0.2.1')]);
});

it('HostResolver.resolve() goes by the hosts file first', async () => {
  const text = '127.0.0.1 localhost\n# 192.0.2.9 a.example\n192.0.2.7\tA.Example other # c.example\n::1 a.example';
  const resolve4 = vi.fn(async () => ['192.0.2.1']);
  const resolver = make({ readHosts: async () => text, resolve4 });
  expect(await resolver.resolve('a.example')).toEqual([v4('192.0.2.7'), { address: '::1', family: 6 }]);
  expect(resolve4).not.toHaveBeenCalled();
  expect(await resolver.resolve('c.example')).toEqual([v4('192.0.2.1')]);
  const without = make({ readHosts: fails('ENOENT') });
  expect(await without.resolve('c.example')).toEqual([v4('192.0.2.1')]);
});

it('HostResolver.resolve() asks the system where servers know no such name or are none, and not where they are silent', async () => {
  const lookup = vi.fn(async () => [v4('192.0.2.5')]);
  const found = [v4('192.0.2.5')];
  for (const code of ['ENOTFOUND', 'ENODATA', 'ECONNREFUSED', 'ESERVFAIL']) {
    expect(await make({ resolve4: fails(code), resolve6: fails(code), lookup }).resolve('a.example')).toEqual(found);
  }
  expect(await make({ lookup }).resolve('printer')).toEqual(found);
  expect(await make({ lookup }).resolve('x.localhost')).toEqual(found);
  lookup.mockClear();
  const silent = make({ resolve4: fails('ETIMEOUT'), lookup });
  await expect(silent.resolve('a.example')).rejects.toThrow('ETIMEOUT');
  expect(lookup).not.toHaveBeenCalled();
});

it('HostResolver.resolve() keeps two threads of the system at most, and tells when a look-up begins that had to wait', async () => {
  const answers: (() => void)[] = [];
  const lookup = vi.fn(() => new Promise<HostAddress[]>((resolve) => answers.push(() => resolve([v4('192.0.2.5')]))));
  const resolver = make({ lookup });
  const begun: string[] = [];
  const all = ['one', 'two', 'three'].map((name) => resolver.resolve(name, () => begun.push(name)));
  await vi.waitFor(() => expect(begun).toEqual(['one', 'two']));
  expect(await resolver.resolve('a.example')).toEqual([v4('192.0.2.1')]);
  answers[0]?.();
  await vi.waitFor(() => expect(begun).toEqual(['one', 'two', 'three']));
  for (const answer of answers) answer();
  expect(await Promise.all(all)).toHaveLength(3);
});

it('HostResolver.resolve() is not held up by a name server that never answers, beside one that does', async () => {
  // A real name server on the loopback: silent for `dead`, no such name for all else.
  const server = createSocket('udp4');
  server.on('message', (query, { port }) => {
    if (query.includes('dead')) return;
    const answer = Buffer.from(query);
    answer.writeUInt16BE(0x8183, 2);
    server.send(answer, port, '127.0.0.1');
  });
  await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve));
  const dns = new Resolver({ timeout: 30_000, tries: 1 });
  dns.setServers([`127.0.0.1:${(server.address() as AddressInfo).port}`]);
  const resolver = make({
    resolve4: (name) => dns.resolve4(name),
    resolve6: (name) => dns.resolve6(name),
    lookup: async () => [v4('192.0.2.5')],
  });
  const dead = Array.from({ length: 20 }, (_, index) =>
    resolver.resolve(`dead-${index}.example`).catch(() => 'given up'),
  );
  expect(await resolver.resolve('good.example')).toEqual([v4('192.0.2.5')]);
  dns.cancel();
  // What was given up is not asked of the system by way of a thread: these have ended.
  await Promise.all(dead);
  server.close();
});
