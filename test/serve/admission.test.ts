import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { Admission } from '../../src/serve/admission.js';
import { until } from '../support/until.js';
import { expectExactLedger, ledger, load } from './overload.js';
import { dataUrl, photo, serving } from './support/serving.js';

describe('Admission', () => {
  const at = (now: { ms: number }) => new Admission({ maxUnderWay: 10, timeoutMs: 1_000, now: () => now.ms });

  test('lets in as many images as it may, and a larger request alone', () => {
    const admission = at({ ms: 0 });
    admission.enter(8);
    expect(() => admission.enter(3)).toThrow(expect.objectContaining({ kind: 'overloaded', retryAfterMs: 1_000 }));
    admission.enter(2);
    expect(() => admission.requireRoom()).toThrow();
    for (let index = 0; index < 10; index++) admission.leave('succeeded');
    admission.enter(50);
    expect(admission.counts()).toMatchObject({ accepted: 60, succeeded: 10, underWay: 50, refused: 2 });
  });

  test('refuses what cannot be answered in time at the rate of the busy seconds, and says when to come again', () => {
    const now = { ms: 0 };
    const admission = at(now);
    for (let index = 0; index < 8; index++) {
      admission.enter(1);
      now.ms += 200;
      admission.leave('succeeded');
      // Idle time changes no rate.
      now.ms += 60_000;
    }
    expect(admission.perSecond).toBeCloseTo(5);
    admission.enter(3);
    admission.enter(1);
    // Five would take a second, and have 0.8 s.
    const refusedWith = (ms: number) =>
      expect(() => admission.enter(1)).toThrow(expect.objectContaining({ retryAfterMs: ms }));
    refusedWith(280);
    // The one who was refused comes again, too.
    refusedWith(480);
    now.ms += 60_000;
    refusedWith(280);
  });
});

describe('three times the load that a server can answer', () => {
  const served = serving({ maxUnderWay: 8 }, { workers: 1, coalesce: false });

  test('is answered with 200 and 429 alone, and every image that was let in ends once', async () => {
    const { statuses } = await load(served, 24, 2_000, await photo('cat-1'));
    expect(Object.keys(statuses)).toEqual(['200', '429']);
    expect(statuses[200]).toBeGreaterThan(8);
    await expectExactLedger(served);
  });
});

describe('a client that leaves', () => {
  const served = serving({}, { workers: 1, maxBatch: 1, coalesce: false });

  test('takes its images out of the queue', async () => {
    await served.server.app.warm();
    const input = Array.from({ length: 32 }, () => '');
    const pictures = await Promise.all(['cat-1', 'rocket-1', 'coffee-1'].map(photo));
    const body = JSON.stringify({ input: input.map((_, index) => dataUrl(pictures[index % 3] as Buffer)) });
    const leaving = new AbortController();
    const gone = fetch(served.url('/v1/embeddings'), { method: 'POST', body, signal: leaving.signal }).catch(
      () => 'left',
    );
    await until('the first image', async () => (await ledger(served)).accepted === 32);
    leaving.abort();
    expect(await gone).toBe('left');
    await until('the end of its images', async () => (await ledger(served)).underWay === 0);
    const { cancelled = 0 } = await ledger(served);
    expect(cancelled).toBeGreaterThan(0);
    await expectExactLedger(served);
    // What was cancelled was not run.
    await until('the pool at rest', () => served.pool.stats().models.default?.inFlight === 0);
    expect(served.pool.stats().succeeded).toBeLessThan(32);
    expect(served.log.at(-1)?.code === 'gone' || served.log.some(({ code }) => code === 'gone')).toBe(true);
  });
});

describe('the budget of all bodies', () => {
  const served = serving({ maxBodyBytes: 1_000_000, maxBodiesBytes: 3_000_000, bodyTimeoutMs: 1_000 }, { workers: 1 });

  /** Sends a head that declares a body, and the first of its bytes. */
  const begin = (bytes: number) => {
    const { port, hostname } = new URL(served.server.url);
    const socket = connect(Number(port), hostname);
    let text = '';
    socket.on('error', () => {});
    const status = new Promise<number>((resolve) => {
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1');
        const found = /^HTTP\/1.1 (\d+)/.exec(text)?.[1];
        if (found !== undefined) resolve(Number(found));
      });
      socket.on('close', () => resolve(0));
    });
    socket.write(`POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: ${bytes}\r\n\r\n{`);
    return { socket, status };
  };

  test('refuses with 429 what has no room beside bodies that drip, cuts those, and has all of it back', async () => {
    const dripping = Array.from({ length: 3 }, () => begin(1_000_000));
    const timers = dripping.map(({ socket }) => setInterval(() => socket.write(' '), 50));
    await until('the whole budget in use', async () => (await ledger(served)).bodyBytes === 3_000_000);
    const { status, headers, json } = await served.post('/embed', { inputs: 'cat' });
    expect([status, json.error_type]).toEqual([429, 'Overloaded']);
    expect(Number(headers.get('retry-after-ms'))).toBeGreaterThan(0);
    expect(await Promise.all(dripping.map((each) => each.status))).toEqual([408, 408, 408]);
    for (const timer of timers) clearInterval(timer);
    await until('the budget back', async () => (await ledger(served)).bodyBytes === 0);
    expect((await served.post('/embed', { inputs: 'cat' })).status).toBe(200);
  });

  test('holds against 200 large bodies at once', async () => {
    const agent = new Agent({ keepAlive: true });
    let most = 0;
    const watch = setInterval(
      () => void ledger(served).then(({ bodyBytes = 0 }) => (most = Math.max(most, bodyBytes))),
      5,
    );
    const body = Buffer.alloc(990_000, 'a');
    body.set(Buffer.from('{"inputs":"'), 0);
    body.set(Buffer.from('"}'), body.length - 2);
    const statuses = await Promise.all(
      Array.from(
        { length: 200 },
        () =>
          new Promise<number>((resolve, reject) => {
            const sent = request(served.url('/embed'), { method: 'POST', agent }, (answer) => {
              answer.resume().on('end', () => resolve(answer.statusCode ?? 0));
            });
            sent.on('error', reject);
            sent.end(body);
          }),
      ),
    );
    clearInterval(watch);
    agent.destroy();
    // A text of base64 letters is asked for as a data URL: 422 is an answer to what was read.
    expect([...new Set(statuses)].sort()).toEqual([422, 429]);
    expect(most).toBeLessThanOrEqual(3_000_000);
    expect(await ledger(served)).toMatchObject({ bodyBytes: 0, underWay: 0 });
  });

  test('is given back by a client that leaves in the middle of its body', async () => {
    const { socket } = begin(900_000);
    await until('the body', async () => (await ledger(served)).bodyBytes === 900_000);
    socket.destroy();
    await until('the budget back', async () => (await ledger(served)).bodyBytes === 0);
  });
});
