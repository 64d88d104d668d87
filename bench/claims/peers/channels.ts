/** Channels and the race between them. */
import { channel as cspChannel, select as cspSelect } from '@thi.ng/csp';
import { type Cause, Effect, Exit, Queue } from 'effect';
import { Chan, recv, Select } from 'ts-chan';
import { createSelector, mpsc, select } from '../../../dist/channels/index.js';
import { type Claim, settledWithin, yesNo } from '../claim.js';

const SOON_MS = 50;
const TURNS = 2_000;

/** How evenly two arms that are always ready are served. */
const fairness = (served: readonly number[]): string => yesNo(Math.min(...served) > Math.max(...served) / 2);

/** Whether a timer of 0 ms fires while values are taken that are always there. */
async function letsTimersRun(take: () => Promise<unknown>): Promise<string> {
  let hasFired = false;
  setTimeout(() => {
    hasFired = true;
  }, 0);
  const end = performance.now() + 1_000;
  while (!hasFired && performance.now() < end) await take();
  return yesNo(hasFired);
}

export const claims: readonly Claim[] = [
  {
    question: 'a sender waits while the channel is full',
    answers: {
      millrace: async () => {
        const [tx] = mpsc.channel<number>(1);
        await tx.send(1);
        return yesNo((await settledWithin(SOON_MS, tx.send(2))) === 'pending');
      },
      effect: async () => {
        const queue = Effect.runSync(Queue.bounded<number>(1));
        await Effect.runPromise(Queue.offer(queue, 1));
        return yesNo((await settledWithin(SOON_MS, Effect.runPromise(Queue.offer(queue, 2)))) === 'pending');
      },
      'ts-chan': async () => {
        const chan = new Chan<number>(1);
        await chan.send(1);
        return yesNo((await settledWithin(SOON_MS, chan.send(2))) === 'pending');
      },
      '@thi.ng/csp': async () => {
        const chan = cspChannel<number>(1);
        await settledWithin(SOON_MS, chan.write(1));
        return yesNo((await settledWithin(SOON_MS, chan.write(2))) === 'pending');
      },
    },
  },
  {
    question: 'a receive that loses a race takes no message',
    answers: {
      millrace: async () => {
        const [slow, quiet] = mpsc.channel<string>(1);
        const [quick, busy] = mpsc.channel<string>(1);
        await quick.send('winner');
        await select({ quiet, busy });
        await slow.send('kept');
        return yesNo((await settledWithin(SOON_MS, quiet.recv())) === 'fulfilled');
      },
      effect: async () => {
        const quiet = Effect.runSync(Queue.bounded<string>(1));
        const busy = Effect.runSync(Queue.bounded<string>(1));
        await Effect.runPromise(Queue.offer(busy, 'winner'));
        await Effect.runPromise(Effect.raceFirst(Queue.take(quiet), Queue.take(busy)));
        await Effect.runPromise(Queue.offer(quiet, 'kept'));
        return yesNo((await settledWithin(SOON_MS, Effect.runPromise(Queue.take(quiet)))) === 'fulfilled');
      },
      'ts-chan': async () => {
        const quiet = new Chan<string>(1);
        const busy = new Chan<string>(1);
        await busy.send('winner');
        await new Select([recv(quiet), recv(busy)]).wait();
        await quiet.send('kept');
        return yesNo((await settledWithin(SOON_MS, quiet.recv())) === 'fulfilled');
      },
      '@thi.ng/csp': async () => {
        const quiet = cspChannel<string>(1);
        const busy = cspChannel<string>(1);
        void busy.write('winner');
        await cspSelect(quiet, busy);
        void quiet.write('kept');
        return yesNo((await settledWithin(SOON_MS, quiet.read())) === 'fulfilled');
      },
    },
  },
  {
    question: 'a cancelled receive leaves its message to the next one',
    answers: {
      millrace: async () => {
        const [tx, rx] = mpsc.channel<number>(1);
        const controller = new AbortController();
        const given = rx.recv({ signal: controller.signal });
        controller.abort();
        await given.catch(() => {});
        await tx.send(1);
        return yesNo((await settledWithin(SOON_MS, rx.recv())) === 'fulfilled');
      },
      effect: async () => {
        const queue = Effect.runSync(Queue.bounded<number>(1));
        const controller = new AbortController();
        const given = Effect.runPromise(Queue.take(queue), { signal: controller.signal });
        controller.abort();
        await given.catch(() => {});
        await Effect.runPromise(Queue.offer(queue, 1));
        return yesNo((await settledWithin(SOON_MS, Effect.runPromise(Queue.take(queue)))) === 'fulfilled');
      },
      'ts-chan': async () => {
        const chan = new Chan<number>(1);
        const controller = new AbortController();
        const given = chan.recv(controller.signal);
        controller.abort();
        await given.catch(() => {});
        await chan.send(1);
        return yesNo((await settledWithin(SOON_MS, chan.recv())) === 'fulfilled');
      },
      // `read` takes no argument, and its promise has no other handle.
      '@thi.ng/csp': async () => yesNo(cspChannel<number>().read.length > 0),
    },
  },
  {
    question: '`undefined` is a value, and not the end',
    answers: {
      millrace: async () => {
        const [tx, rx] = mpsc.channel<undefined>(1);
        await tx.send(undefined);
        tx.close();
        const [value, end] = [await rx.recv(), await rx.recv()];
        return yesNo(!value.done && end.done === true);
      },
      effect: async () => {
        const queue = Effect.runSync(Queue.bounded<undefined, Cause.Done>(1));
        await Effect.runPromise(Queue.offer(queue, undefined));
        await Effect.runPromise(Queue.end(queue));
        const [value, end] = [
          await Effect.runPromiseExit(Queue.take(queue)),
          await Effect.runPromiseExit(Queue.take(queue)),
        ];
        return yesNo(Exit.isSuccess(value) && Exit.isFailure(end));
      },
      'ts-chan': async () => {
        const chan = new Chan<undefined>(1);
        await chan.send(undefined);
        chan.close();
        const [value, end] = [await chan.recv(), await chan.recv()];
        return yesNo(!value.done && end.done === true);
      },
      '@thi.ng/csp': async () => {
        const chan = cspChannel<undefined>(1);
        void chan.write(undefined);
        const value = await Promise.race([chan.read(), Promise.resolve('nothing came')]);
        chan.close();
        // Both answers are `undefined`.
        return yesNo(value !== (await chan.read()) && value !== 'nothing came');
      },
    },
  },
  {
    question: 'the end can carry an error to the receiver',
    answers: {
      millrace: async () => {
        const [tx, rx] = mpsc.channel<number>(1);
        tx.close(new Error('broken'));
        return yesNo((await settledWithin(SOON_MS, rx.recv())) === 'rejected');
      },
      effect: async () => {
        const queue = Effect.runSync(Queue.bounded<number, Error>(1));
        await Effect.runPromise(Queue.fail(queue, new Error('broken')));
        return yesNo(Exit.isFailure(await Effect.runPromiseExit(Queue.take(queue))));
      },
      'ts-chan': async () => yesNo(new Chan<number>().close.length > 0),
      '@thi.ng/csp': async () => yesNo(cspChannel<number>().close.length > 0),
    },
  },
  {
    question: 'all values in the channel can be taken at once',
    answers: {
      millrace: async () => {
        const [tx, rx] = mpsc.channel<number>(4);
        for (const n of [1, 2, 3]) await tx.send(n);
        return yesNo((await rx.recvMany(4)).length === 3);
      },
      effect: async () => {
        const queue = Effect.runSync(Queue.bounded<number>(4));
        await Effect.runPromise(Queue.offerAll(queue, [1, 2, 3]));
        return yesNo((await Effect.runPromise(Queue.takeAll(queue))).length === 3);
      },
      'ts-chan': async () => yesNo(hasMethod(new Chan<number>(), /many|all|batch/i)),
      '@thi.ng/csp': async () => yesNo(hasMethod(cspChannel<number>(), /many|all|batch/i)),
    },
  },
  {
    question: 'a race is fair to arms that are always ready',
    answers: {
      millrace: async () => {
        const arms = await Promise.all(
          [0, 1].map(async () => {
            const [tx, rx] = mpsc.unboundedChannel<number>();
            for (let i = 0; i < TURNS; i++) tx.send(i);
            return rx;
          }),
        );
        const served = [0, 0];
        const selector = createSelector({ a: arms[0]!, b: arms[1]! });
        for (let turn = 0; turn < TURNS; turn++) served[(await selector.next()).arm === 'a' ? 0 : 1]! += 1;
        return fairness(served);
      },
      effect: async () => {
        const queues = [0, 1].map(() => {
          const queue = Effect.runSync(Queue.unbounded<number>());
          for (let i = 0; i < TURNS; i++) Queue.offerUnsafe(queue, i);
          return queue;
        });
        const served = [0, 0];
        const race = Effect.raceAllFirst(queues.map((queue, arm) => Effect.map(Queue.take(queue), () => arm)));
        for (let turn = 0; turn < TURNS; turn++) served[await Effect.runPromise(race)]! += 1;
        return fairness(served);
      },
      'ts-chan': async () => {
        const arms = [0, 1].map(() => new Chan<number>(TURNS));
        for (const chan of arms) for (let i = 0; i < TURNS; i++) chan.trySend(i);
        const served = [0, 0];
        const race = new Select(arms.map((chan) => recv(chan)));
        for (let turn = 0; turn < TURNS / 10; turn++) {
          const arm = await race.wait();
          race.recv(race.cases[arm]!);
          served[arm]! += 1;
        }
        return fairness(served);
      },
      '@thi.ng/csp': async () => {
        const arms = [0, 1].map(() => cspChannel<number>(64));
        const served = [0, 0];
        for (let turn = 0; turn < TURNS / 10; turn++) {
          for (const chan of arms) if (chan.writable()) void chan.write(turn);
          const [, from] = await cspSelect(arms[0]!, arms[1]!);
          served[arms.indexOf(from as (typeof arms)[number])]! += 1;
        }
        return fairness(served);
      },
    },
  },
  {
    question: 'timers run while values are always there',
    answers: {
      millrace: async () => {
        const [tx, rx] = mpsc.unboundedChannel<number>();
        tx.send(0);
        return letsTimersRun(() => {
          tx.send(0);
          return rx.recv();
        });
      },
      effect: async () => {
        const queue = Effect.runSync(Queue.unbounded<number>());
        let hasFired = false;
        setTimeout(() => {
          hasFired = true;
        }, 0);
        const end = performance.now() + 1_000;
        await Effect.runPromise(
          Effect.gen(function* () {
            while (!hasFired && performance.now() < end) {
              Queue.offerUnsafe(queue, 0);
              yield* Queue.take(queue);
            }
          }),
        );
        return yesNo(hasFired);
      },
      'ts-chan': async () => {
        const chan = new Chan<number>(1);
        return letsTimersRun(() => {
          chan.trySend(0);
          return chan.recv();
        });
      },
      '@thi.ng/csp': async () => {
        const chan = cspChannel<number>(1);
        return letsTimersRun(() => {
          void chan.write(0);
          return chan.read();
        });
      },
    },
  },
];

function hasMethod(object: object, name: RegExp): boolean {
  for (
    let each: object | null = object;
    each !== null && each !== Object.prototype;
    each = Object.getPrototypeOf(each)
  ) {
    if (Object.getOwnPropertyNames(each).some((own) => name.test(own))) return true;
  }
  return false;
}
