import { describe, expect, test } from 'vitest';
import { Kind, Link, type LinkTransport, type Message, type Parcel } from '../../../src/worker/codec/link.js';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

interface Recording {
  readonly link: Link;
  readonly sent: Parcel[];
  readonly refused: [Message, unknown][];
  arrive: (parcel: Parcel) => void;
}

/** A link that keeps what it sends, as a copy. */
function recording(transport: Partial<LinkTransport> = {}, maxBatch?: number): Recording {
  const sent: Parcel[] = [];
  const refused: [Message, unknown][] = [];
  const recorded = { sent, refused, arrive: (_: Parcel) => {} };
  const link = new Link(
    {
      canTransfer: true,
      send: (parcel, transfer) => void sent.push(structuredClone(parcel, { transfer: [...transfer] })),
      subscribe: (handler) => {
        recorded.arrive = handler;
      },
      ...transport,
    },
    maxBatch,
  );
  link.onRefused = (...what) => refused.push(what);
  return Object.assign(recorded, { link });
}

test('Link sends one message as it is and several as a batch, and hands either on as a batch', () => {
  const recorded = recording();
  const { link, sent } = recorded;
  link.post([Kind.Ping, 1]);
  link.flush();
  link.post([Kind.Ping, 2]);
  link.post([Kind.Ping, 3]);
  link.flush();
  const [one, several] = [[Kind.Ping, 1] as const, [[Kind.Ping, 2] as const, [Kind.Ping, 3] as const]];
  expect(sent).toEqual([one, several]);
  const received: unknown[] = [];
  link.receive((batch) => received.push(batch));
  for (const parcel of sent) recorded.arrive(parcel);
  expect(received).toEqual([[one], several]);
  // Another receiver takes its place.
  const others: unknown[] = [];
  link.receive((batch) => others.push(batch));
  recorded.arrive(one);
  expect([received.length, others]).toEqual([2, [[one]]]);
});

describe('Link.post()', () => {
  test('sends what is posted in one turn as one batch, in order', async () => {
    const { link, sent } = recording();
    link.post([1]);
    void Promise.resolve().then(() => link.post([2]));
    await turn();
    expect(sent).toEqual([[[1], [2]]]);
  });

  test('does not wait for the end of the turn once a batch is full', async () => {
    const { link, sent } = recording({}, 2);
    for (const each of [1, 2, 3]) link.post([each]);
    expect(sent).toEqual([[[1], [2]]]);
    await turn();
    expect(sent).toEqual([[[1], [2]], [3]]);
  });

  test('refuses only the message that cannot be cloned', async () => {
    const { link, sent, refused } = recording();
    const bad = [2, () => {}];
    for (const message of [[1], bad, [3]]) link.post(message);
    await turn();
    expect(sent).toEqual([[1], [3]]);
    expect(refused).toEqual([[bad, expect.objectContaining({ name: 'DataCloneError' })]]);
  });

  test('sends what moves buffers at once and alone, behind what waits', () => {
    const { link, sent } = recording();
    const buffer = new ArrayBuffer(8);
    link.post([1]);
    link.post([2, buffer], [buffer]);
    expect(sent).toEqual([[1], [2, new ArrayBuffer(8)]]);
    expect(buffer.byteLength).toBe(0);
  });

  test('copies what cannot be moved', () => {
    const moves: number[] = [];
    const { link, refused } = recording({
      send: (_, transfer) => {
        if (transfer.length > 0) throw new Error('cannot be moved');
        moves.push(transfer.length);
      },
    });
    link.post([1], [new ArrayBuffer(8)]);
    expect([moves, refused]).toEqual([[0], []]);
  });

  test('sends what must go alone at once, behind what waits, and leaves nothing for the end of the turn', async () => {
    const { link, sent } = recording();
    link.post([1], undefined, true);
    expect(sent).toEqual([[1]]);
    link.post([2]);
    let lastWord: Message | undefined = [4];
    link.lastWord = () => {
      const word = lastWord;
      lastWord = undefined;
      return word;
    };
    link.post([3], undefined, true);
    expect(sent).toEqual([[1], [[2], [4]], [3]]);
    await turn();
    expect(sent).toHaveLength(3);
  });

  test('refuses what must go alone and can not be cloned at once', () => {
    const { link, sent, refused } = recording();
    link.post([1, () => {}], undefined, true);
    expect(sent).toEqual([]);
    expect(refused).toHaveLength(1);
  });
});

test('Link.close() drops what is queued', async () => {
  const { link, sent } = recording();
  link.post([1]);
  link.close();
  link.post([2]);
  await turn();
  expect(sent).toEqual([]);
});
