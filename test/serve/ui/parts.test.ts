import { expect, test } from 'vitest';
import { RateRing } from '../../../src/serve/ui/rate-ring.js';
import { Sessions } from '../../../src/serve/ui/sessions.js';
import { tallyMs, WorkerTallies } from '../../../src/serve/ui/tallies.js';
import { Viewers } from '../../../src/serve/ui/viewers.js';

test('RateRing keeps five minutes of rates, and spreads those of a late tick over its seconds', () => {
  const ring = new RateRing();
  ring.note(100, 0);
  expect(ring.rates).toEqual([]);
  ring.note(130, 1_000);
  ring.note(160, 4_000);
  // A model that was registered anew counts from 0.
  ring.note(0, 5_000);
  expect(ring.rates).toEqual([30, 10, 10, 10, 0]);
  for (let second = 6; second < 400; second += 1) ring.note(second * 2, second * 1_000);
  expect(ring.rates).toHaveLength(300);
  expect(new Set(ring.rates.slice(1))).toEqual(new Set([2]));
});

test('WorkerTallies adds up what workers told, those that have ended included', () => {
  const tallies = new WorkerTallies();
  tallies.note(
    new Map<string, unknown>([
      ['a', { decodeMs: { 5: 2 }, runMs: { 10: 2 }, batchSizes: { 2: 1 } }],
      ['b', { decodeMs: { 5: 1, Infinity: 1 } }],
    ]),
  );
  expect(tallies.sum('decodeMs')).toEqual({ 5: 3, Infinity: 1 });
  // Each tells all that it has counted; one that tells nothing stays as it was, and so does one with nonsense.
  tallies.note(
    new Map<string, unknown>([
      ['b', undefined],
      ['c', { decodeMs: { 5: -0.5 }, batchSizes: 'none' }],
    ]),
  );
  expect(tallies.sum('decodeMs')).toEqual({ 5: 3, Infinity: 1 });
  tallies.note(new Map([['b', { decodeMs: { 5: 4 } }]]));
  expect(tallies.sum('decodeMs')).toEqual({ 5: 6 });
  expect(tallies.sum('batchSizes')).toEqual({ 2: 1 });
});

test('tallyMs() counts by the bounds that workers count by', () => {
  const tally: Record<string, number> = {};
  for (const ms of [0, 1, 1.5, 9_999, 10_001]) tallyMs(tally, ms);
  expect(tally).toEqual({ 1: 2, 2: 1, 10000: 1, Infinity: 1 });
});

test('Viewers holds one state for a reader that does not read, and ends every stream', async () => {
  const viewers = new Viewers();
  const slow = viewers.add().getReader();
  const quick = viewers.add().getReader();
  const text = async (reader: typeof slow): Promise<string | undefined> => {
    const { done, value } = await reader.read();
    return done ? undefined : new TextDecoder().decode(value);
  };
  expect(await text(quick)).toBe('retry: 1000\n\n');
  for (let state = 0; state < 1_000; state += 1) {
    viewers.send({ state });
    expect(await text(quick)).toBe(`data: {"state":${state}}\n\n`);
  }
  // The slow one has missed all but the first, and gets the next once it has read.
  expect([await text(slow), await text(slow)]).toEqual(['retry: 1000\n\n', 'data: {"state":0}\n\n']);
  viewers.send({ state: 'now' });
  expect(await text(slow)).toBe('data: {"state":"now"}\n\n');
  await quick.cancel();
  expect(viewers.size).toBe(1);
  viewers.close();
  expect([await text(slow), viewers.size]).toEqual([undefined, 0]);
  viewers.send({ state: 'after' });
});

test('Sessions knows its own cookies only', () => {
  const sessions = new Sessions();
  const cookie = sessions.open();
  expect(cookie).toMatch(/^millrace_ui=[\w-]{32}; Max-Age=28800; HttpOnly; SameSite=Strict$/);
  const pair = cookie.split(';')[0] as string;
  expect(sessions.has(pair)).toBe(true);
  expect(sessions.has(`theme=dark; ${pair}`)).toBe(true);
  for (const foreign of [undefined, '', 'millrace_ui=', 'millrace_ui=x', `not_${pair}`, pair.slice(0, -1)]) {
    expect([foreign, sessions.has(foreign)]).toEqual([foreign, false]);
  }
  // The oldest gives way.
  for (let count = 0; count < 100; count += 1) sessions.open();
  expect(sessions.has(pair)).toBe(false);
});
