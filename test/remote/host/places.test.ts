import { expect, test } from 'vitest';
import { SimulatedClock } from '../../../src/core/index.js';
import type { ModelIntake, Priority } from '../../../src/pool/internal.js';
import { Places, RESERVE_MS, type WaitingCaller } from '../../../src/remote/host/places.js';

/** A pool of so many places, with so many calls in it. */
function makePlaces({ capacity = 2, reserve = 0, limit = Number.MAX_SAFE_INTEGER } = {}) {
  const clock = new SimulatedClock();
  const intake = { capacity, load: 0, reserve };
  const places = new Places(intake as unknown as ModelIntake, clock, limit);
  const offers: string[] = [];
  const caller = (name: string): WaitingCaller => ({
    waitsAs: undefined,
    reserved: 0,
    offered: () => offers.push(name),
  });
  const admit = (each: WaitingCaller, priority: Priority = 'normal'): boolean => {
    const isAdmitted = places.admit(each, priority);
    if (isAdmitted) {
      // As the host does once the input is here.
      places.taken -= 1;
      intake.load += 1;
    }
    return isAdmitted;
  };
  const free = (): void => {
    intake.load -= 1;
    places.offer();
  };
  return { clock, intake, places, offers, caller, admit, free };
}

test('Places.admit() lets in as many as there are places, and lists the others', () => {
  const { places, caller, admit } = makePlaces();
  const [a, b, c] = [caller('a'), caller('b'), caller('c')];
  expect([admit(a), admit(b), admit(c), admit(c)]).toEqual([true, true, false, false]);
  expect(places).toMatchObject({ free: 0, waiting: 1 });
});

test('Places offers a place that came free to waiting callers in turns, the more urgent class first', () => {
  const { offers, caller, admit, free } = makePlaces({ capacity: 1 });
  const [holder, a, b, urgent, bulk] = [caller('h'), caller('a'), caller('b'), caller('urgent'), caller('bulk')];
  admit(holder);
  admit(bulk, 'batch');
  admit(a);
  admit(b);
  admit(urgent, 'interactive');
  const serve = (each: WaitingCaller, priority: Priority = 'normal'): void => {
    free();
    expect(admit(each, priority)).toBe(true);
  };
  serve(urgent, 'interactive');
  serve(a);
  admit(a);
  serve(b);
  serve(a);
  serve(bulk, 'batch');
  expect(offers).toEqual(['urgent', 'a', 'b', 'a', 'bulk']);
});

test('Places keeps an offered place for its caller, and passes it on once that has not come', async () => {
  const { clock, places, offers, caller, admit, free } = makePlaces({ capacity: 1 });
  const [holder, slow, next, passing] = [caller('h'), caller('slow'), caller('next'), caller('passing')];
  admit(holder);
  admit(slow);
  admit(next);
  free();
  expect(offers).toEqual(['slow']);
  expect(admit(passing)).toBe(false);
  await clock.advance(RESERVE_MS - 1);
  expect(offers).toEqual(['slow']);
  await clock.advance(1);
  expect(offers).toEqual(['slow', 'next']);
  expect(slow.reserved).toBe(0);
  expect(admit(next)).toBe(true);
  expect(places.free).toBe(0);
  expect(clock.pendingTimers).toBe(0);
});

test('Places.decline() passes an offered place on at once', () => {
  const { places, offers, caller, admit, free } = makePlaces({ capacity: 1 });
  const [holder, a, b] = [caller('h'), caller('a'), caller('b')];
  admit(holder);
  admit(a);
  admit(b);
  free();
  places.decline(a);
  expect(offers).toEqual(['a', 'b']);
  places.decline(a);
  expect(b.reserved).toBe(1);
});

test('Places leaves the reserve to the classes above batch', () => {
  const { offers, caller, admit, free } = makePlaces({ capacity: 3, reserve: 1 });
  const [a, b, bulk] = [caller('a'), caller('b'), caller('bulk')];
  expect([admit(bulk, 'batch'), admit(bulk, 'batch'), admit(bulk, 'batch')]).toEqual([true, true, false]);
  expect(admit(a)).toBe(true);
  expect(admit(b, 'interactive')).toBe(false);
  free();
  expect(offers).toEqual(['b']);
  expect(admit(b, 'interactive')).toBe(true);
  free();
  free();
  expect(offers).toEqual(['b', 'bulk']);
});

test('Places follows a pool whose places grow and shrink', () => {
  const { intake, places, offers, caller, admit } = makePlaces({ capacity: 1 });
  const [a, b, c] = [caller('a'), caller('b'), caller('c')];
  admit(a);
  admit(b);
  intake.capacity = 2;
  places.offer();
  expect(offers).toEqual(['b']);
  expect(admit(b)).toBe(true);
  intake.capacity = 1;
  expect(places.free).toBe(-1);
  expect(admit(c)).toBe(false);
});

test('Places.close() lets no caller in, keeps no place and empties the list', () => {
  const { clock, places, caller, admit, free } = makePlaces({ capacity: 1 });
  const [holder, a, b] = [caller('h'), caller('a'), caller('b')];
  admit(holder);
  admit(a);
  admit(b);
  free();
  places.close();
  expect(places).toMatchObject({ total: 0, free: 0, waiting: 0 });
  expect([admit(a), admit(b)]).toEqual([false, false]);
  expect([a.reserved, b.waitsAs, clock.pendingTimers]).toEqual([0, undefined, 0]);
});
