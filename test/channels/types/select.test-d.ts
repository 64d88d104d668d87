/**
 * What the compiler must accept and refuse. Compiled by `npm run types`; nothing here runs.
 */
import {
  CancellationToken,
  createSelector,
  interval,
  mpsc,
  type oneshot,
  reserving,
  select,
  sleep,
  timeout,
  type UntilCancelled,
  withEnd,
} from '../../../src/channels/index.js';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

function holds<_T extends true>(): void {}
function unreachable(_: never): never {
  throw new Error('unreachable');
}

declare const numbers: mpsc.Receiver<number>;
declare const texts: mpsc.Sender<string>;
declare const answer: oneshot.Receiver<Date>;
declare const paused: boolean;
declare const maybe: mpsc.Receiver<boolean> | undefined;
const stop = new CancellationToken();

export async function exhaustive(): Promise<string> {
  const event = await select({
    job: numbers,
    stop,
    idle: sleep(1),
    tick: interval(5),
    off: paused && numbers,
    maybe,
    never: null,
    end: withEnd(numbers),
    room: reserving(texts),
    answer,
    done: Promise.resolve('done'),
    nested: createSelector({ inner: numbers, stop }),
    signal: new AbortController().signal,
  });
  switch (event.arm) {
    case 'job':
    case 'off':
    case 'tick':
      holds<Equal<typeof event.value, number>>();
      return event.arm;
    case 'maybe':
      holds<Equal<typeof event.value, boolean>>();
      return event.arm;
    case 'stop':
    case 'signal':
      holds<Equal<typeof event.value, unknown>>();
      return event.arm;
    case 'idle':
      return event.arm;
    case 'end':
      holds<Equal<typeof event.value, IteratorResult<number, undefined>>>();
      return event.arm;
    case 'room':
      holds<Equal<typeof event.value, mpsc.Permit<string>>>();
      return event.arm;
    case 'answer':
      holds<Equal<typeof event.value, Date>>();
      return event.arm;
    case 'done':
      holds<Equal<typeof event.value, string>>();
      return event.arm;
    case 'nested':
      if (event.value.arm === 'inner') holds<Equal<typeof event.value.value, number>>();
      return event.arm;
    case null:
      return 'none';
    default:
      return unreachable(event);
  }
}

export async function selectors(): Promise<void> {
  const selector = createSelector({ job: numbers, stop, off: paused && numbers }, { biased: true });
  const event = await selector.next({ off: paused ? ['job'] : undefined });
  holds<Equal<typeof event.arm, 'job' | 'stop' | 'off' | null>>();
  // @ts-expect-error there is no such arm
  void selector.next({ off: ['jobs'] });
}

interface Declared {
  readonly job: mpsc.Receiver<number>;
  readonly stop: CancellationToken;
  readonly maybe?: mpsc.Receiver<string>;
}
declare const declared: Declared;
declare const either: mpsc.Receiver<number> | mpsc.Receiver<string>;
declare const anySource: mpsc.Receiver<number> | oneshot.Receiver<Date> | false;

export async function armsOfAnInterface(): Promise<string> {
  const event = await select(declared);
  switch (event.arm) {
    case 'job':
      holds<Equal<typeof event.value, number>>();
      return 'job';
    case 'maybe':
      holds<Equal<typeof event.value, string>>();
      return 'maybe';
    case 'stop':
    case null:
      return 'stop';
    default:
      return unreachable(event);
  }
}

export async function selectorOfAnInterface(): Promise<void> {
  const selector = createSelector(declared, { biased: true });
  const event = await selector.next({ off: ['maybe'] });
  holds<Equal<typeof event.arm, 'job' | 'stop' | 'maybe' | null>>();
  const explicit = createSelector<Declared>(declared);
  holds<Equal<typeof explicit, typeof selector>>();
  class Arms {
    readonly job = numbers;
    readonly stop = stop;
  }
  const event2 = await select(new Arms());
  holds<Equal<typeof event2.arm, 'job' | 'stop' | null>>();
  // @ts-expect-error a property of an interface that is no arm
  void select(declared as Declared & { readonly count: number });
}

export async function unions(): Promise<void> {
  const event = await select({
    either,
    source: anySource,
    end: withEnd(either),
    both: anySource && withEnd(anySource),
  });
  if (event.arm === 'either') holds<Equal<typeof event.value, number | string>>();
  if (event.arm === 'source') holds<Equal<typeof event.value, number | Date>>();
  if (event.arm === 'end') holds<Equal<typeof event.value, IteratorResult<number | string, undefined>>>();
  if (event.arm === 'both') holds<Equal<typeof event.value, IteratorResult<number | Date, undefined>>>();
  const timed = await timeout(5, either);
  holds<Equal<typeof timed, number | string>>();
}

export function refused(): void {
  // @ts-expect-error engines reorder names that look like integers
  void select({ 0: numbers });
  // @ts-expect-error the same, as a string
  void select({ '12': numbers, stop });
  // @ts-expect-error a number is no arm
  void select({ job: 5 });
  // @ts-expect-error a function is no arm
  void select({ job: () => numbers });
  // @ts-expect-error unknown option
  void select({ job: numbers }, { baised: true });
  // @ts-expect-error only bounded channels hold slots
  void reserving(mpsc.unboundedChannel<number>()[0]);
  // @ts-expect-error a value of another type
  void texts.send(5);
}

export async function values(): Promise<void> {
  const [tx, rx] = mpsc.channel<number | undefined>(1);
  holds<Equal<typeof tx, mpsc.Sender<number | undefined>>>();
  const result = await rx.recv();
  if (!result.done) holds<Equal<typeof result.value, number | undefined>>();
  const found = rx.tryRecv();
  if (found.state === 'ok') holds<Equal<typeof found.value, number | undefined>>();
  const many = await rx.recvMany(3);
  holds<Equal<typeof many, (number | undefined)[]>>();
  const timed = await timeout(5, numbers);
  holds<Equal<typeof timed, number>>();
  const called = await timeout(5, (signal) => numbers.recv({ signal }));
  holds<Equal<typeof called, IteratorResult<number, undefined>>>();
  const stopped = await stop.runUntilCancelled(async () => 'text');
  holds<Equal<typeof stopped, UntilCancelled<string>>>();
  if (stopped.state === 'ok') holds<Equal<typeof stopped.value, string>>();
  for await (const event of createSelector({ rx, stop })) {
    if (event.arm === 'rx') holds<Equal<typeof event.value, number | undefined>>();
    else holds<Equal<typeof event.arm, 'stop'>>();
  }
}
