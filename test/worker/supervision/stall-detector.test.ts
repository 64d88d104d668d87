import { expect, test } from 'vitest';
import { monotonicNow, SimulatedClock } from '../../../src/core/index.js';
import type { HostClient } from '../../../src/worker/supervision/host-client.js';
import { StallDetector } from '../../../src/worker/supervision/stall-detector.js';

/** Looks come every 250 ms, and a second one 500 ms after a first that found something. */
const STALL_MS = 1_000;

/** A detector on a host that is always heard of, with one call that was due at once. */
function start() {
  const clock = new SimulatedClock();
  const state = { lastAnswerAt: clock.now(), begun: 1, ended: 0, isLoading: false };
  const held = new Map([[1, { request: { deadline: clock.now(), enteredAt: clock.now() }, abandonedAt: undefined }]]);
  const client = {
    held,
    get isLoading() {
      return state.isLoading;
    },
    host: {
      startedAt: monotonicNow(),
      progress: () => ({ heardAt: monotonicNow(), value: { begun: state.begun, ended: state.ended, latest: 1 } }),
    },
    seenInside: () => {},
  } as unknown as HostClient;
  const stalls: string[] = [];
  const detector = new StallDetector(
    clock,
    STALL_MS,
    client,
    () => state.lastAnswerAt,
    (reason) => stalls.push(reason),
  );
  detector.watch();
  return { clock, state, held, detector, stalls };
}

test('StallDetector takes a second look before it calls a worker hung, and says so once', async () => {
  const { clock, stalls } = start();
  // The first look notes that a call began, so the silence counts from there; that of 1,250 ms is the first to find it too long.
  await clock.advance(1_250 + 499);
  expect(stalls).toEqual([]);
  await clock.advance(1);
  expect(stalls).toEqual(['it made no progress for 1500 ms past a deadline']);
  await clock.advance(60_000);
  expect(stalls).toHaveLength(1);
});

test('StallDetector forgets a suspicion when the second look finds progress', async () => {
  const { clock, state, stalls } = start();
  await clock.advance(1_250);
  state.lastAnswerAt = clock.now();
  await clock.advance(500);
  // Suspect again at 2,250 ms, so stalled at 2,750.
  await clock.advance(500 + 499);
  expect(stalls).toEqual([]);
  await clock.advance(1);
  expect(stalls).toHaveLength(1);
});

test('StallDetector forgets a suspicion when nothing is under way any more', async () => {
  const { clock, held, detector, stalls } = start();
  await clock.advance(1_250);
  const [call] = held.values();
  held.clear();
  await clock.advance(500);
  // A call that was due long ago, of which the next look is the first.
  held.set(2, call!);
  detector.watch();
  await clock.advance(250 + 499);
  expect(stalls).toEqual([]);
  await clock.advance(1);
  expect(stalls).toHaveLength(1);
});

test('StallDetector.stop() ends its looks, also for whoever asks it to watch afterwards', async () => {
  const { clock, detector, stalls } = start();
  await clock.advance(1_250);
  detector.stop();
  detector.watch();
  await clock.advance(60_000);
  expect(stalls).toEqual([]);
});
