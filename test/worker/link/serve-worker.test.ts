import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { encodeError } from '../../../src/worker/codec/error-codec.js';
import { ProgressBoard } from '../../../src/worker/hosts/progress-board.js';
import { createLink, type Parcel } from '../../../src/worker/link/link.js';
import { Kind } from '../../../src/worker/link/messages.js';
import { serveWorker } from '../../../src/worker/link/serve-worker.js';
import { sharedNow } from '../../../src/worker/link/shared-clock.js';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const module = `data:text/javascript,${encodeURIComponent(`
  let inside = 0;
  export default () => ({
    increment: async (value) => value + 1,
    slow: async () => {
      const most = ++inside;
      await new Promise((resolve) => setTimeout(resolve, 5));
      inside--;
      return most;
    },
    patient: (_, { signal }) => new Promise((resolve) => signal.addEventListener('abort', () => resolve('late'))),
  });
`)}`;

// What is late, and what method is slow, is for the clock to say, which here stands still.
beforeEach(() => {
  vi.spyOn(performance, 'now').mockReturnValue(1_000_000);
});
afterEach(() => {
  vi.restoreAllMocks();
});

/** A host's side of a link without a thread around it, and what it sends. */
async function serve(concurrency: number): Promise<{ deliver: (parcel: Parcel) => void; sent: Parcel[] }> {
  const sent: Parcel[] = [];
  let deliver!: (parcel: Parcel) => void;
  const link = createLink({
    canTransfer: false,
    send: (parcel) => void sent.push(parcel),
    subscribe: (handler) => {
      deliver = handler;
    },
  });
  serveWorker({ link, board: new ProgressBoard(), host: 'thread', exit: () => {} });
  const unary = { kind: 'unary', chunkCapacity: 1 };
  const operations = { increment: unary, slow: unary, patient: unary };
  const init = { workerId: 'w', host: 'thread', module, options: undefined, operations, concurrency };
  deliver([Kind.Init, { ...init, transferResults: false }]);
  while (sent.length === 0) await turn();
  expect(sent.splice(0)).toEqual([[Kind.Ready]]);
  await turn();
  return { deliver, sent };
}

const call = (id: number, operation: number, input?: unknown): Parcel => {
  return [Kind.Call, id, operation, input, -1, undefined, sharedNow()];
};

test('serveWorker() answers a fast call that comes alone with one message, and without a turn of the event loop', async () => {
  const { deliver, sent } = await serve(1);
  // The first call of a method is announced: nothing is known of it yet.
  deliver(call(1, 0, 1));
  while (sent.length < 2) await turn();
  sent.length = 0;
  for (let id = 2; id < 10; id++) {
    // From where messages come: what is put off by a tick there, comes before any microtask.
    await new Promise<void>((resolve) => {
      setImmediate(() => {
        deliver(call(id, 0, id));
        resolve();
      });
    });
    for (let hop = 0; hop < 20; hop++) await null;
    expect(sent).toEqual([[Kind.Answer, id, id + 1]]);
    await turn();
    expect(sent.splice(0)).toHaveLength(1);
  }
});

test('serveWorker() says of a call that comes alone and does not end in its turn that it was taken', async () => {
  const { deliver, sent } = await serve(1);
  deliver(call(1, 1));
  while (sent.length < 2) await turn();
  sent.length = 0;
  deliver(call(2, 1));
  await turn();
  expect(sent).toEqual([[Kind.Taken, 2]]);
  while (sent.length < 2) await turn();
  expect(sent[1]).toEqual([Kind.Answer, 2, 1]);
});

test('serveWorker() does not run a call that is taken back in the batch in which it comes', async () => {
  const { deliver, sent } = await serve(2);
  deliver([call(1, 1), call(2, 1), [Kind.Abort, 1, encodeError(new Error('never mind'))]] as unknown as Parcel);
  const answers = (): Parcel[] => sent.flat().filter((each) => Array.isArray(each)) as Parcel[];
  while (!sent.some((parcel) => parcel[0] === Kind.Answer)) await turn();
  expect(sent.concat(answers()).filter((message) => message[0] === Kind.Answer)).toEqual([[Kind.Answer, 2, 1]]);
});

test('serveWorker() lets no more calls into the model than its concurrency, when those that come alone are more', async () => {
  const { deliver, sent } = await serve(2);
  for (let id = 1; id <= 8; id++) {
    deliver(call(id, 1));
    if (id === 5) await turn();
  }
  deliver([9, 10, 11].map((id) => call(id, 1)));
  const answers = (): Parcel[] =>
    sent.flatMap((parcel) => (typeof parcel[0] === 'number' ? [parcel] : (parcel as Parcel[])));
  const ended = (): Parcel[] => answers().filter((message) => message[0] === Kind.Answer);
  while (ended().length < 11) await turn();
  expect(
    ended()
      .map((message) => message[1])
      .sort(),
  ).toEqual([1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]);
  for (const message of ended()) expect(message[2]).toBeLessThanOrEqual(2);
});

test('serveWorker() sends one final message for each call, also for those that are given up in the queue or inside the model', async () => {
  const { deliver, sent } = await serve(1);
  deliver(call(1, 2));
  for (let id = 2; id <= 4; id++) deliver(call(id, 1));
  await turn();
  const reason = encodeError(new Error('never mind'));
  deliver([Kind.Abort, 3, reason]);
  deliver([Kind.Abort, 1, reason]);
  // Both are over, and so is what never was: nothing comes of it.
  deliver([Kind.Abort, 3, reason]);
  deliver([Kind.Abort, 99, reason]);
  const finals = (): Parcel[] =>
    sent
      .flatMap((parcel) => (typeof parcel[0] === 'number' ? [parcel] : (parcel as Parcel[])))
      .filter(([kind]) => kind !== Kind.Taken);
  while (finals().length < 4) await turn();
  await turn();
  expect(finals()).toEqual([
    [Kind.Gone, 3, false],
    [Kind.Gone, 1, true],
    [Kind.Answer, 2, 1],
    [Kind.Answer, 4, 1],
  ]);
});
