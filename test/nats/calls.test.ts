import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { connectNats, type Nats } from '../../src/nats/index.js';
import { createPool } from '../../src/pool/index.js';
import { type BusStatus, createRemotePool, type ServedPool, servePool } from '../../src/remote/index.js';
import { operation } from '../../src/worker/index.js';
import { NatsServer, natsServer } from '../support/nats-server.js';
import { describeNeeding } from '../support/needs.js';
import { until } from '../support/until.js';

const operations = {
  echo: operation<unknown, unknown>({ idempotent: true }),
  run: operation<number, string>(),
};

describeNeeding(natsServer)('calls over a NATS server', () => {
  const open: AsyncDisposable[] = [];
  let server: NatsServer;
  beforeAll(async () => {
    server = await NatsServer.start({ hasJetStream: false });
  });
  afterAll(() => server?.stop());
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each[Symbol.asyncDispose]();
  });

  async function connect(): Promise<Nats> {
    const nats = await connectNats({ servers: server.url });
    open.push(nats);
    return nats;
  }

  async function serve(name: string, ran: number[]): Promise<ServedPool> {
    const bus = await connect();
    const pool = createPool();
    const run = async (n: number): Promise<string> => {
      ran.push(n);
      await sleep(20);
      return name;
    };
    const load = () => ({ echo: (input: unknown) => input, run }) as never;
    pool.register('model', { operations, load, maxWorkers: 2 });
    const host = await servePool(pool, { bus, service: 'text', operations: ['echo', 'run'], name });
    open.push(pool, host);
    return host;
  }

  async function call() {
    const remote = createRemotePool({ bus: await connect() });
    open.push(remote);
    return remote.connect('text', { operations });
  }

  test('two hosts share the calls of a caller, and 5 MB come back as they were', async () => {
    const ran: number[] = [];
    await serve('one', ran);
    await serve('two', ran);
    const text = await call();
    const bytes = new Uint8Array(5_000_000).map((_, n) => n % 251);
    expect(Buffer.compare((await text.call('echo', bytes)) as Uint8Array, bytes)).toBe(0);
    const names = await Promise.all(Array.from({ length: 40 }, (_, n) => text.call('run', n)));
    expect(new Set(names)).toEqual(new Set(['one', 'two']));
    expect(ran.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, n) => n));
  }, 20_000);

  test('a host that leaves under load loses no call', async () => {
    const ran: number[] = [];
    const one = await serve('one', ran);
    await serve('two', ran);
    const text = await call();
    const calls = Array.from({ length: 60 }, (_, n) => text.call('run', n));
    await until('some calls', () => ran.length > 4);
    await one.close();
    expect(await Promise.all(calls)).toHaveLength(60);
    expect(ran).toHaveLength(60);
  }, 20_000);

  test('while the server is killed and started five times, each call is answered and runs once', async () => {
    const ran: number[] = [];
    await serve('one', ran);
    await serve('two', ran);
    const text = await call();
    let made = 0;
    let isOver = false;
    let longestMs = 0;
    const callers = Array.from({ length: 40 }, async () => {
      while (!isOver) {
        const began = performance.now();
        await text.call('run', made++);
        longestMs = Math.max(longestMs, performance.now() - began);
      }
    });
    for (let n = 0; n < 5; n += 1) {
      await sleep(1_000);
      await server.restart(300);
    }
    await sleep(500);
    isOver = true;
    await Promise.all(callers);
    expect(made).toBeGreaterThan(200);
    expect(ran.toSorted((a, b) => a - b)).toEqual(Array.from({ length: made }, (_, n) => n));
    // 40 calls on 4 places of 20 ms wait 0.2 s for each other.
    expect(longestMs).toBeLessThan(300 + 1_000 + 400);
  }, 30_000);

  test('the connection tells its status, sends nothing while it is down, and reports what nobody reads', async () => {
    const nats = await connect();
    const seen: BusStatus[] = [];
    nats.watch((status) => seen.push(status));
    const got: unknown[] = [];
    nats.subscribe('back.*', ({ subject, isUndeliverable, headers }) => got.push([subject, isUndeliverable, headers]));
    expect(nats.publish('no.reader', new Uint8Array(1), { reply: 'back.a' })).toBe(true);
    nats.publish('back.b', new Uint8Array(0), { headers: { traceparent: '00-1' } });
    await nats.flush();
    expect(got).toContainEqual(['back.a', true, undefined]);
    expect(got).toContainEqual(['back.b', false, { traceparent: '00-1' }]);
    expect(() => nats.publish('back.c', new Uint8Array(nats.maxPayload + 1))).toThrow(RangeError);
    await server.kill();
    await until('the loss', () => nats.status === 'disconnected');
    expect(nats.publish('back.d', new Uint8Array(0))).toBe(false);
    await expect(nats.flush()).rejects.toMatchObject({ code: 'ERR_NATS_CONNECTION' });
    await server.launch();
    await until('the return', () => nats.status === 'connected');
    nats.publish('back.e', new Uint8Array(0));
    await nats.flush();
    expect(got.slice(2)).toEqual([['back.e', false, undefined]]);
    await nats.close();
    await until('the end', () => seen.length === 3);
    expect(seen).toEqual(['disconnected', 'connected', 'closed']);
  }, 20_000);
});
