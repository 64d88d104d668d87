import { describe, expect, test } from 'vitest';
import { monotonicNow, SimulatedClock } from '../../../src/core/index.js';
import { StallDetector, type StallLimits, type WatchedHost } from '../../../src/worker/executor/stall-detector.js';

/** Looks come every 250 ms, and a second one 500 ms after a first that found something. */
const STALL_MS = 1_000;

/** A detector on a host that is always heard of, with one call that was due at once. */
function start(limits: Partial<StallLimits> = {}) {
  const clock = new SimulatedClock();
  const state = {
    lastAnswerAt: clock.now(),
    begun: 1,
    ended: 0,
    isLoading: false,
    /** How long it has not been heard of, in ms; undefined where it never was. */
    silentMs: 0 as number | undefined,
    readyAt: undefined as number | undefined,
    /** Whether the system says that it waits for a core and was not stopped; undefined where it does not tell. */
    isStarved: undefined as boolean | undefined,
    /** Whether its loop answers. */
    doesTurn: true,
    pings: 0,
  };
  const held = new Map([
    [
      1,
      {
        deadline: clock.now() as number | undefined,
        enteredAt: clock.now(),
        goneAt: undefined as number | undefined,
      },
    ],
  ]);
  const client = {
    held,
    get lastAnswerAt() {
      return state.lastAnswerAt;
    },
    get isLoading() {
      return state.isLoading;
    },
    get readyAt() {
      return state.readyAt;
    },
    host: {
      startedAt: monotonicNow() - 60_000,
      progress: () =>
        state.silentMs === undefined
          ? undefined
          : {
              heardAt: monotonicNow() - state.silentMs,
              value: { begun: state.begun, ended: state.ended, latest: 1 },
            },
      isStarved: () => Promise.resolve(state.isStarved),
    },
    seenInside: () => {},
    ping: () => {
      state.pings += 1;
      return state.doesTurn ? Promise.resolve({}) : new Promise(() => {});
    },
  } as unknown as WatchedHost;
  const stalls: string[] = [];
  const detector = new StallDetector(
    clock,
    { stallTimeoutMs: STALL_MS, blockedTimeoutMs: () => Number.POSITIVE_INFINITY, ...limits },
    client,
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
  expect(stalls).toEqual(['made no progress for 1500 ms past a deadline']);
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

describe('StallDetector, a host whose thread is kept', () => {
  const LIMITS = { stallTimeoutMs: 30_000, blockedTimeoutMs: () => 2_000 };

  test('calls it hung once it has kept its thread for the shorter limit past a deadline', async () => {
    const { clock, state, stalls } = start(LIMITS);
    state.doesTurn = false;
    // The first look is at 500 ms, and silence counts from there; it is asked at 2,500, and its answer waited for for a second.
    await clock.advance(3_499);
    expect([state.pings, stalls]).toEqual([1, []]);
    await clock.advance(1);
    expect(stalls).toEqual(['kept its thread in one call for 3000 ms past a deadline']);
  });

  test('leaves it alone until the longer limit as long as its loop answers: a decode or a download takes its time', async () => {
    const { clock, state, stalls } = start(LIMITS);
    await clock.advance(30_000);
    expect(stalls).toEqual([]);
    expect(state.pings).toBeGreaterThan(10);
    await clock.advance(1_500);
    expect(stalls).toEqual([expect.stringMatching(/^made no progress for 3[01]\d{3} ms past a deadline$/)]);
  });

  test('asks for the limit each time, and takes one that is no number for none', async () => {
    let limit = Number.NaN;
    const { clock, state, stalls } = start({ ...LIMITS, blockedTimeoutMs: () => limit });
    state.doesTurn = false;
    await clock.advance(10_000);
    expect(stalls).toEqual([]);
    limit = 5_000;
    await clock.advance(1_500);
    expect(stalls).toHaveLength(1);
  });

  test('is patient with a run that ends: progress starts the time anew', async () => {
    const { clock, state, stalls } = start(LIMITS);
    state.doesTurn = false;
    for (let run = 0; run < 10; run += 1) {
      await clock.advance(1_900);
      state.begun += 1;
      state.ended += 1;
    }
    expect(stalls).toEqual([]);
  });

  test('counts from when its caller gave up, though the deadline is far off', async () => {
    const { clock, state, held, stalls } = start(LIMITS);
    state.doesTurn = false;
    const call = held.get(1)!;
    call.deadline = clock.now() + 60_000;
    await clock.advance(20_000);
    expect(stalls).toEqual([]);
    call.goneAt = clock.now();
    await clock.advance(4_000);
    expect(stalls).toHaveLength(1);
  });
});

describe('StallDetector, a host that is silent', () => {
  const LIMITS = { stallTimeoutMs: 30_000 };

  test.for([30_000, 600_000])(
    'judges it in two looks, with a limit for slow calls of %i ms',
    async (stallTimeoutMs) => {
      const { clock, state, stalls } = start({ stallTimeoutMs });
      state.silentMs = 1_400;
      await clock.advance(1_000);
      expect(stalls).toEqual([]);
      state.silentMs = 1_550;
      await clock.advance(500 + 499);
      expect(stalls).toEqual([]);
      await clock.advance(1);
      expect(stalls).toEqual([expect.stringMatching(/^gave no sign of life for 1[56]\d\d ms$/)]);
    },
  );

  test('gives one that waits for a core ten seconds, and one that was stopped meanwhile no more', async () => {
    const { clock, state, stalls } = start(LIMITS);
    state.isStarved = true;
    state.silentMs = 9_000;
    await clock.advance(5_000);
    expect(stalls).toEqual([]);
    state.isStarved = false;
    await clock.advance(1_000);
    expect(stalls).toHaveLength(1);
  });

  test('judges one that waits for a core after ten seconds, and one that starts after thirty', async () => {
    const { clock, state, stalls } = start(LIMITS);
    state.isStarved = true;
    state.silentMs = 10_100;
    await clock.advance(2_000);
    expect(stalls).toHaveLength(1);

    const other = start(LIMITS);
    other.state.isStarved = true;
    other.state.isLoading = true;
    other.state.silentMs = undefined;
    other.state.readyAt = monotonicNow() - 20_000;
    await other.clock.advance(5_000);
    expect(other.stalls).toEqual([]);
    other.state.readyAt = monotonicNow() - 31_000;
    await other.clock.advance(2_000);
    expect(other.stalls).toHaveLength(1);
  });

  test('judges one that was never heard of by when it was ready', async () => {
    const { clock, state, stalls } = start(LIMITS);
    state.silentMs = undefined;
    state.readyAt = monotonicNow() - 1_000;
    await clock.advance(2_000);
    expect(stalls).toEqual([]);
    state.readyAt = monotonicNow() - 1_600;
    await clock.advance(1_000);
    expect(stalls).toHaveLength(1);
  });

  test('forgives it when it is heard of at the second look', async () => {
    const { clock, state, stalls } = start(LIMITS);
    state.silentMs = 3_000;
    await clock.advance(500);
    state.silentMs = 100;
    await clock.advance(5_000);
    expect(stalls).toEqual([]);
  });

  test('isSilent() has one that holds nothing looked at, until it is heard of', async () => {
    const { clock, state, held, detector, stalls } = start(LIMITS);
    held.clear();
    await clock.advance(10_000);
    expect(detector.isSilent()).toBe(false);
    state.silentMs = 1_600;
    await clock.advance(10_000);
    expect(stalls).toEqual([]);
    expect(detector.isSilent()).toBe(true);
    await clock.advance(500);
    state.silentMs = 0;
    await clock.advance(10_000);
    expect([detector.isSilent(), stalls]).toEqual([false, []]);
    state.silentMs = 1_600;
    expect(detector.isSilent()).toBe(true);
    await clock.advance(1_000);
    expect(stalls).toHaveLength(1);
  });

  test('lets one be silent for ever whose limit is Infinity', async () => {
    const { clock, state, stalls } = start({ stallTimeoutMs: Number.POSITIVE_INFINITY });
    state.silentMs = 600_000;
    await clock.advance(600_000);
    expect(stalls).toEqual([]);
  });
});
