import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { encodeError } from '../../../src/worker/codec/error-codec.js';
import { ProgressBoard } from '../../../src/worker/host/progress-board.js';
import { Link, type Parcel } from '../../../src/worker/codec/link.js';
import { Kind, sharedNow } from '../../../src/worker/codec/link.js';
import { serveModel } from '../../../src/worker/host/serve-model.js';
import { turn } from '../../support/settlement.js';

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
async function serve(): Promise<{ deliver: (parcel: Parcel) => void; sent: Parcel[] }> {
  const sent: Parcel[] = [];
  let deliver!: (parcel: Parcel) => void;
  const link = new Link({
    canTransfer: false,
    send: (parcel) => void sent.push(parcel),
    subscribe: (handler) => {
      deliver = handler;
    },
  });
  serveModel({ link, board: new ProgressBoard(), host: 'thread', exit: () => {} });
  const operations = { increment: 'unary', slow: 'unary', patient: 'unary' };
  const init = { workerId: 'w', host: 'thread', module, options: undefined, operations };
  deliver([Kind.Init, { ...init, transferResults: false }]);
  while (sent.length === 0) await turn();
  expect(sent.splice(0)).toEqual([[Kind.Ready]]);
  await turn();
  return { deliver, sent };
}

const call = (id: number, operation: number, input?: unknown): Parcel => {
  return [Kind.Call, id, operation, input, undefined, undefined, sharedNow()];
};

test('serveModel() answers a fast call with one message, and without a turn of the event loop', async () => {
  const { deliver, sent } = await serve();
  // The first call of a method is announced: nothing is known of it yet.
  deliver(call(1, 0, 1));
  while (sent.length < 2) await turn();
  sent.length = 0;
  for (let id = 2; id < 10; id++) {
    deliver(call(id, 0, id));
    await turn();
    expect(sent).toEqual([[Kind.Answer, id, id + 1]]);
    expect(sent.splice(0)).toHaveLength(1);
  }
});

test('serveModel() says of a call that does not end in its turn that it was taken', async () => {
  const { deliver, sent } = await serve();
  deliver(call(1, 1));
  while (sent.length < 2) await turn();
  sent.length = 0;
  deliver(call(2, 1));
  await turn();
  expect(sent).toEqual([[Kind.Taken, 2]]);
  while (sent.length < 2) await turn();
  expect(sent[1]).toEqual([Kind.Answer, 2, 1]);
});

test('serveModel() does not run a call that is taken back in the batch in which it comes', async () => {
  const { deliver, sent } = await serve();
  deliver([call(1, 1), call(2, 1), [Kind.Abort, 1, encodeError(new Error('never mind'))]] as unknown as Parcel);
  const answers = (): Parcel[] => sent.flat().filter((each) => Array.isArray(each)) as Parcel[];
  while (!sent.some((parcel) => parcel[0] === Kind.Answer)) await turn();
  expect(sent.concat(answers()).filter((message) => message[0] === Kind.Answer)).toEqual([[Kind.Answer, 2, 1]]);
});

test('serveModel() sends one final message for each call, also for those that are given up before they begin or inside the model', async () => {
  const { deliver, sent } = await serve();
  const reason = encodeError(new Error('never mind'));
  const aborts = [3, 3, 99].map((id) => [Kind.Abort, id, reason]);
  // Of what is over, or never was, nothing comes.
  deliver([call(1, 2), ...[2, 3, 4].map((id) => call(id, 1)), ...aborts] as unknown as Parcel);
  await turn();
  deliver([Kind.Abort, 1, reason]);
  deliver([Kind.Abort, 1, reason]);
  const finals = (): Parcel[] =>
    sent
      .flatMap((parcel) => (typeof parcel[0] === 'number' ? [parcel] : (parcel as Parcel[])))
      .filter(([kind]) => kind !== Kind.Taken)
      .sort(([, one], [, other]) => (one as number) - (other as number));
  while (finals().length < 4) await turn();
  await turn();
  expect(finals()).toEqual([
    [Kind.Gone, 1, true],
    [Kind.Answer, 2, 1],
    [Kind.Gone, 3, false],
    [Kind.Answer, 4, 2],
  ]);
});
