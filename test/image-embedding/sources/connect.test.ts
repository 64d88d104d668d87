import { type AddressInfo, createServer, Socket } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { connectAny, type Dial } from '../../../src/image-embedding/sources/host-resolver.js';
import type { HostAddress } from '../../../src/image-embedding/sources/url-policy.js';

const server = createServer((socket) => socket.on('error', () => {}));
let port = 0;

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
});
afterAll(() => void server.close());

/** Addresses by what they do: accept at once, after some time, never, or refuse. */
const dial: Dial = ({ address }) => {
  const socket = new Socket();
  if (address === 'refuses')
    setImmediate(() => socket.destroy(Object.assign(new Error('no'), { code: 'ECONNREFUSED' })));
  if (address === 'accepts') socket.connect(port, '127.0.0.1');
  if (address === 'slow') setTimeout(() => socket.destroyed || socket.connect(port, '127.0.0.1'), 1_100);
  return socket;
};

const of = (...addresses: readonly string[]): HostAddress[] => addresses.map((address) => ({ address, family: 4 }));

it('connectAny() gives a slow address all of the time, though there is another that refuses or is silent', async () => {
  for (const addresses of [of('slow', 'refuses'), of('slow', 'silent'), of('silent', 'slow')]) {
    const socket = await connectAny(addresses, port, AbortSignal.timeout(20_000), dial);
    expect(socket.remoteAddress).toBe('127.0.0.1');
    socket.destroy();
  }
});

it('connectAny() goes on to the next address at once when one refuses, and soon when one is silent', async () => {
  const made: string[] = [];
  const noting: Dial = (address, to) => {
    made.push(address.address);
    return dial(address, to);
  };
  const socket = await connectAny(
    of('refuses', 'silent', 'accepts', 'slow'),
    port,
    AbortSignal.timeout(20_000),
    noting,
  );
  socket.destroy();
  expect(made).toEqual(['refuses', 'silent', 'accepts']);
});

it('connectAny() takes the families by turns', async () => {
  const made: string[] = [];
  const refusing: Dial = ({ address }, to) => {
    made.push(address);
    return dial({ address: 'refuses', family: 4 }, to);
  };
  const addresses: HostAddress[] = [
    ...of('a', 'b', 'c'),
    ...['x', 'y'].map((address): HostAddress => ({ address, family: 6 })),
  ];
  await expect(connectAny(addresses, port, AbortSignal.timeout(20_000), refusing)).rejects.toThrow('no');
  expect(made).toEqual(['a', 'x', 'b', 'y', 'c']);
});

it('connectAny() fails with its signal, and leaves no socket', async () => {
  const sockets: Socket[] = [];
  const noting: Dial = (address, to) => {
    const socket = dial(address, to);
    sockets.push(socket);
    return socket;
  };
  const controller = new AbortController();
  const connecting = connectAny(of('silent', 'silent'), port, controller.signal, noting);
  controller.abort(new Error('enough'));
  await expect(connecting).rejects.toThrow('enough');
  expect(sockets.map(({ destroyed }) => destroyed)).toEqual([true]);
});
