import { describe, expect, it } from 'vitest';
import { CancellationToken, timeout } from '../../src/channels/index.js';
import { enterPhase, PHASES } from './support/budget-phase.js';
import { takingWaits, type Wait, type WaitOfKind } from './support/wait-kinds.js';
import { drained } from '../support/settlement.js';

type Outcome = { readonly result: unknown } | undefined;
/** Runs a wait in a wrapper until it gives something or is stopped. */
type Wrapper = (wait: Wait, signal: AbortSignal) => Promise<Outcome>;

const outcomeOf = (promise: PromiseLike<unknown>): Promise<Outcome> =>
  Promise.resolve(promise).then(
    (result) => ({ result }),
    () => undefined,
  );

const LONG = 1_000_000;

const wrappers: Readonly<Record<string, Wrapper>> = {
  alone: (wait, signal) => outcomeOf(wait(signal)),
  'timeout()': (wait, signal) => outcomeOf(timeout(LONG, wait, { signal })),
  'timeout() in timeout()': (wait, signal) =>
    outcomeOf(timeout(LONG, (outer) => timeout(LONG, wait, { signal: outer }), { signal })),
  'three of timeout()': (wait, signal) =>
    outcomeOf(
      timeout(LONG, (a) => timeout(LONG, (b) => timeout(LONG, wait, { signal: b }), { signal: a }), { signal }),
    ),
  'timeout() of a promise in timeout()': (wait, signal) =>
    outcomeOf(timeout(LONG, (outer) => timeout(LONG, Promise.resolve(wait(outer))), { signal })),
  'timeout() whose time is up': (wait, signal) => {
    const setTimer = (callback: () => void): { cancel(): void } => {
      const onAbort = () => callback();
      signal.addEventListener('abort', onAbort);
      return { cancel: () => signal.removeEventListener('abort', onAbort) };
    };
    return outcomeOf(timeout(LONG, wait, { clock: { now: () => 0, setTimer } }));
  },
  'an async function in timeout()': (wait, signal) =>
    outcomeOf(
      timeout(
        LONG,
        async (inner) => {
          const result = await wait(inner);
          await null;
          return result;
        },
        { signal },
      ),
    ),
  'a loop of ready waits in timeout()': (wait, signal) =>
    outcomeOf(
      timeout(
        LONG,
        async (inner) => {
          const result = await wait(inner);
          const done = new CancellationToken();
          done.cancel();
          for (let hop = 0; hop < 3; hop++) await done.cancelled();
          return result;
        },
        { signal },
      ),
    ),
  'runUntilCancelled()': (wait, signal) => untilCancelled(signal, wait),
  'timeout() in runUntilCancelled()': (wait, signal) =>
    untilCancelled(signal, (inner) => timeout(LONG, wait, { signal: inner })),
  'runUntilCancelled() in timeout()': (wait, signal) =>
    timeout(LONG, (inner) => untilCancelled(inner, wait), { signal }).catch(() => undefined),
};

async function untilCancelled(signal: AbortSignal, wait: Wait): Promise<Outcome> {
  const token = CancellationToken.fromSignal(signal);
  const outcome = await outcomeOf(token.runUntilCancelled(async (inner) => ({ result: await wait(inner) })));
  const { result } = outcome ?? {};
  const { state, value } = (result ?? {}) as { state?: string; value?: Outcome };
  return state === undefined ? (result as Outcome) : value;
}

async function trial(make: () => WaitOfKind, wrapper: Wrapper, phase: number, hops: number, abortsFirst: boolean) {
  const { wait, give, left, held } = make();
  const controller = new AbortController();
  await enterPhase(phase);
  const outcome = wrapper(wait, controller.signal);
  await null;
  const steps = [give, () => controller.abort('stop')];
  if (abortsFirst) steps.reverse();
  steps[0]?.();
  for (let hop = 0; hop < hops; hop++) await null;
  steps[1]?.();
  const given = await outcome;
  await drained();
  const has = given === undefined ? 0 : (held?.(given.result) ?? 1);
  return { has, left: left() };
}

describe.each(Object.entries(wrappers))('%s', (_wrapper, wrapper) => {
  it.each(Object.entries(takingWaits))(
    'of %s loses nothing to an abort, in every phase of the budget',
    async (name, make) => {
      const all = name.startsWith('recvMany') ? 2 : 1;
      for (let phase = 0; phase < PHASES; phase++) {
        for (const abortsFirst of [false, true]) {
          for (const hops of [0, 2]) {
            const { has, left } = await trial(make, wrapper, phase, hops, abortsFirst);
            expect(has + left, `phase ${phase}, ${hops} hops, ${abortsFirst ? 'abort' : 'value'} first`).toBe(all);
          }
        }
      }
    },
  );
});
