import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type Bulk,
  type BulkInput,
  type BulkResult,
  connectNats,
  type Nats,
  openBulk,
} from '../../../src/nats/index.js';
import { NatsServer, natsServer } from '../../support/nats-server.js';
import { describeNeeding } from '../../support/needs.js';
import { until } from '../../support/until.js';

describeNeeding(natsServer)('bulk runs', () => {
  let server: NatsServer;
  let nats: Nats;
  let bulk: Bulk;

  beforeAll(async () => {
    server = await NatsServer.start();
    nats = await connectNats({ servers: server.url });
    bulk = await openBulk({ nats, service: 'test' });
  });
  afterAll(async () => {
    await nats?.close();
    await server?.stop();
  });

  const inputs = (count: number, input: (index: number) => unknown = (index) => index): BulkInput[] =>
    Array.from({ length: count }, (_, index) => ({
      name: `input ${index}`,
      read: () => ({ operation: 'double', input: input(index) }),
    }));
  const collect = async (run: string): Promise<BulkResult[]> => {
    const results: BulkResult[] = [];
    for await (const result of bulk.results(run)) results.push(result);
    return results;
  };

  test('a run is submitted, worked on and read in order', async () => {
    expect(await bulk.submit('simple', inputs(100))).toEqual({ total: 100, stored: 100, unreadable: 0 });
    expect(await bulk.status('simple')).toMatchObject({ state: 'running', submitted: 100, waiting: 100, running: 0 });
    const worked = await bulk.work(async ({ input }) => 2 * (input as number), { runs: ['simple'], untilDone: true });
    expect(worked).toEqual({ ok: 100, failed: 0, dead: 0, repeated: 0 });
    expect((await collect('simple')).map(({ output }) => output)).toEqual(Array.from({ length: 100 }, (_, i) => 2 * i));
    expect(await bulk.status('simple')).toMatchObject({
      state: 'complete',
      submitted: 100,
      succeeded: 100,
      waiting: 0,
      ghosts: 0,
      lost: [],
    });
  });

  test('values come back as they were: bytes, vectors, JSON, nothing', async () => {
    const values = [
      new Uint8Array([1, 2, 3]),
      Float32Array.of(0.5, -1),
      { a: [1, null] },
      undefined,
      'text',
      new Uint8Array(),
    ];
    await bulk.submit(
      'values',
      inputs(values.length, (index) => values[index]),
    );
    const seen: unknown[] = [];
    await bulk.work(
      async ({ index, input }) => {
        seen[index] = input;
        return input;
      },
      { runs: ['values'], untilDone: true },
    );
    expect(seen).toEqual(values);
    expect((await collect('values')).map(({ output }) => output)).toEqual(values);
  });

  test('an input of 5 MB goes in parts', async () => {
    const bytes = new Uint8Array(5_000_001).map((_, index) => (index * 31) % 251);
    await bulk.submit(
      'parts',
      inputs(1, () => bytes),
    );
    let same = false;
    await bulk.work(async ({ input }) => (same = Buffer.from(bytes).equals(input as Uint8Array)), {
      runs: ['parts'],
      untilDone: true,
    });
    expect(same).toBe(true);
  });

  test('the caller’s faults are results at once, the model’s are tried three times', async () => {
    await bulk.submit('faults', inputs(3));
    const attempts = [0, 0, 0];
    const worked = await bulk.work(
      async ({ index }) => {
        attempts[index] = (attempts[index] ?? 0) + 1;
        if (index === 1) throw Object.assign(new Error('no picture'), { code: 'ERR_IMAGE_CORRUPT', fault: 'caller' });
        if (index === 2) throw Object.assign(new Error('broken'), { code: 'ERR_MODEL', fault: 'model' });
        return index;
      },
      { runs: ['faults'], untilDone: true, retryMs: 20 },
    );
    expect(worked).toEqual({ ok: 1, failed: 1, dead: 1, repeated: 0 });
    expect(attempts).toEqual([1, 1, 3]);
    expect((await collect('faults')).map(({ outcome, error }) => [outcome, error?.code])).toEqual([
      ['ok', undefined],
      ['failed', 'ERR_IMAGE_CORRUPT'],
      ['dead', 'ERR_MODEL'],
    ]);

    expect(await bulk.retryDead('faults')).toBe(1);
    expect(await bulk.status('faults')).toMatchObject({
      state: 'running',
      succeeded: 1,
      failed: 1,
      dead: 0,
      waiting: 1,
    });
    await bulk.work(async () => 'mended', { runs: ['faults'], untilDone: true });
    expect((await collect('faults'))[2]).toMatchObject({ outcome: 'ok', output: 'mended' });
  });

  test('a paused run is left alone until it is resumed', async () => {
    await bulk.submit('paused', inputs(50));
    await bulk.pause('paused');
    let done = 0;
    const stop = new AbortController();
    const working = bulk.work(async () => ++done, { runs: ['paused'], signal: stop.signal, places: 2 });
    await bulk.submit('other', inputs(5));
    await bulk.work(async () => 1, { runs: ['other'], untilDone: true });
    expect(done).toBe(0);
    await bulk.resume('paused');
    await until('the resumed run', async () => (await bulk.status('paused')).state === 'complete');
    stop.abort();
    expect(await working).toMatchObject({ ok: 50 });
  });

  test('a cancelled run aborts what runs and drops what waits', async () => {
    await bulk.submit('cancelled', inputs(20));
    const stop = new AbortController();
    let begun = 0;
    const working = bulk.work(
      ({ signal, index }) =>
        new Promise((resolve, reject) => {
          begun += 1;
          if (index < 3) resolve(index);
          else signal.addEventListener('abort', () => reject(signal.reason));
        }),
      { runs: ['cancelled'], signal: stop.signal, places: 5 },
    );
    await until('eight jobs', () => begun >= 8);
    await bulk.cancel('cancelled');
    await until('the jobs to end', async () => (await bulk.status('cancelled')).state === 'cancelled' && begun === 8);
    stop.abort();
    await working;
    expect(await bulk.status('cancelled')).toMatchObject({
      submitted: 20,
      succeeded: 3,
      dropped: 17,
      waiting: 0,
      running: 0,
    });
    await bulk.remove('cancelled');
    await expect(bulk.status('cancelled')).rejects.toMatchObject({ code: 'ERR_BULK_RUN_NOT_FOUND' });
  });

  test('a run has one model: a worker with another one refuses it, or leaves it alone', async () => {
    await bulk.submit('model', inputs(4));
    const identity = (digest: string) => async () => ({ digest, value: { digest } });
    const stop = new AbortController();
    await bulk.work(
      async () => {
        stop.abort();
        return 1;
      },
      { runs: ['model'], places: 1, signal: stop.signal, identity: identity('a') },
    );
    expect(await bulk.status('model')).toMatchObject({ succeeded: 1, waiting: 3, identity: { digest: 'a' } });
    const other = bulk.work(async () => 2, { runs: ['model'], untilDone: true, identity: identity('b') });
    await expect(other).rejects.toMatchObject({ code: 'ERR_BULK_MODEL_MISMATCH' });
    const unfit: string[] = [];
    await bulk.work(async () => 3, { untilDone: true, identity: identity('b'), onUnfit: (run) => unfit.push(run) });
    expect(unfit).toEqual(['model']);
    await bulk.work(async () => 1, { runs: ['model'], untilDone: true, identity: identity('a') });
    expect((await collect('model')).map(({ output }) => output)).toEqual([1, 1, 1, 1]);
  });
});
