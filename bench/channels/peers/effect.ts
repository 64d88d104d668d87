import { type Cause, Deferred, Effect, Fiber, Queue, Stream } from 'effect';
import { liveHeap, type Outcome, type Scenario, type Scenarios, stopwatch } from '../../harness/scenario.js';
import { ArmTally, BOUND, creating, drainIterable, PRODUCERS } from '../adapter.js';

type NumberQueue = Queue.Queue<number, Cause.Done>;

const open = (capacity: number | undefined) =>
  capacity === undefined ? Queue.unbounded<number, Cause.Done>() : Queue.bounded<number, Cause.Done>(capacity);

const produce = (queue: NumberQueue, from: number, to: number) =>
  Effect.gen(function* () {
    for (let i = from; i < to; i++) yield* Queue.offer(queue, i);
  });

const recv = (queue: NumberQueue, n: number) =>
  Effect.gen(function* () {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += yield* Queue.take(queue);
    return { count: n, sum } as Outcome;
  });

const recvMany = (queue: NumberQueue, n: number) =>
  Effect.gen(function* () {
    let sum = 0;
    let count = 0;
    while (count < n) {
      const values = yield* Queue.takeAll(queue);
      count += values.length;
      for (const value of values) sum += value;
    }
    return { count, sum } as Outcome;
  });

const forAwait = (queue: NumberQueue) =>
  Effect.promise(() => drainIterable(Stream.toAsyncIterable(Stream.fromQueue(queue) as Stream.Stream<number>)));

const drains = { 'for-await': forAwait, recv, recvMany };

const scenariosOfMode = (mode: keyof typeof drains): Record<string, Scenario> => {
  const drain = drains[mode] as (queue: NumberQueue, n: number) => Effect.Effect<Outcome, Cause.Done>;
  return {
    [`burst/${mode}`]: (n) =>
      Effect.runPromise(
        Effect.gen(function* () {
          const queue = yield* open(undefined);
          for (let i = 0; i < n; i++) Queue.offerUnsafe(queue, i);
          yield* Queue.end(queue);
          return yield* drain(queue, n);
        }),
      ),
    [`steady/${mode}`]: async (n) => {
      const queue = Effect.runSync(open(undefined));
      const drained = Effect.runPromise(drain(queue, n));
      for (let i = 0; i < n; i++) {
        Queue.offerUnsafe(queue, i);
        await null;
      }
      await Effect.runPromise(Queue.end(queue));
      return drained;
    },
    [`bounded/${mode}`]: (n) =>
      Effect.runPromise(
        Effect.gen(function* () {
          const queue = yield* open(BOUND);
          const drained = yield* Effect.forkChild(drain(queue, n));
          yield* produce(queue, 0, n);
          yield* Queue.end(queue);
          return yield* Fiber.join(drained);
        }),
      ),
    [`fan-in/${mode}`]: (n) =>
      Effect.runPromise(
        Effect.gen(function* () {
          const queue = yield* open(BOUND);
          const drained = yield* Effect.forkChild(drain(queue, n));
          const share = n / PRODUCERS;
          yield* Effect.all(
            Array.from({ length: PRODUCERS }, (_, index) =>
              produce(queue, Math.round(index * share), Math.round((index + 1) * share)),
            ),
            { concurrency: 'unbounded', discard: true },
          );
          yield* Queue.end(queue);
          return yield* Fiber.join(drained);
        }),
      ),
  };
};

interface Request {
  readonly value: number;
  readonly reply: Deferred.Deferred<number>;
}

const rpc = (n: number, clients: number): Promise<Outcome> =>
  Effect.runPromise(
    Effect.gen(function* () {
      const requests = yield* Queue.bounded<Request>(64);
      const actor = yield* Effect.forkChild(
        Effect.gen(function* () {
          for (let i = 0; i < n; i++) {
            const { value, reply } = yield* Queue.take(requests);
            yield* Deferred.succeed(reply, value + 1);
          }
        }),
      );
      let count = 0;
      let sum = 0;
      const share = n / clients;
      yield* Effect.all(
        Array.from({ length: clients }, (_, index) =>
          Effect.gen(function* () {
            const end = Math.round((index + 1) * share);
            for (let i = Math.round(index * share); i < end; i++) {
              const reply = yield* Deferred.make<number>();
              yield* Queue.offer(requests, { value: i, reply });
              const answer = yield* Deferred.await(reply);
              sum += answer;
              count++;
            }
          }),
        ),
        { concurrency: 'unbounded', discard: true },
      );
      yield* Fiber.join(actor);
      return { count, sum };
    }),
  );

const selectLoop = async (n: number, waiting: boolean): Promise<Outcome> => {
  const tally = new ArmTally(n);
  const before = liveHeap();
  const stop = stopwatch();
  await Effect.runPromise(
    Effect.gen(function* () {
      const queues: NumberQueue[] = [];
      for (let i = 0; i < 4; i++) queues.push(yield* open(64));
      const shutdown = yield* Deferred.make<never>();
      const producers = yield* Effect.forkChild(
        Effect.all(
          (waiting ? [] : queues).map((queue, index) =>
            produce(queue, Math.round((index * n) / 4), Math.round(((index + 1) * n) / 4)),
          ),
          { concurrency: 'unbounded', discard: true },
        ),
      );
      const trickling = Effect.gen(function* () {
        for (let i = 0; i < n; i++) {
          yield* Queue.offer(queues[i & 3] as NumberQueue, i);
          yield* Effect.yieldNow;
        }
      });
      if (waiting) yield* Effect.forkChild(trickling);
      const arms = queues.map((queue, arm) => Effect.map(Queue.take(queue), (value) => ({ arm, value })));
      const turn = Effect.raceAllFirst([...arms, Deferred.await(shutdown)]);
      while (tally.count < n) {
        const { arm, value } = yield* turn;
        tally.add(arm, value);
      }
      yield* Fiber.join(producers);
    }),
  );
  const times = stop();
  const bytes = Math.max(0, (liveHeap() - before) / n);
  return { count: tally.count, sum: tally.sum, ...times, figures: { 'bytes/turn': bytes, fairness: tally.fairness } };
};

export const scenarios: Scenarios = {
  ...scenariosOfMode('for-await'),
  ...scenariosOfMode('recv'),
  ...scenariosOfMode('recvMany'),
  'rpc/1': (n) => rpc(n, 1),
  'rpc/64': (n) => rpc(n, 64),
  'select/ready': (n) => selectLoop(n, false),
  'select/waiting': (n) => selectLoop(n, true),
  'create/channel': creating(() => Effect.runSync(open(64))),
  'create/oneshot': creating(() => Deferred.makeUnsafe<number>()),
};
