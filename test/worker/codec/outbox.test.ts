import { describe, expect, test } from 'vitest';
import type { Message } from '../../../src/worker/codec/link.js';
import { Outbox } from '../../../src/worker/codec/link.js';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function recordingOutbox(maxBatch = 8): { outbox: Outbox; sent: Message[][] } {
  const sent: Message[][] = [];
  const outbox = new Outbox((batch) => void sent.push(structuredClone(batch) as Message[]), maxBatch);
  return { outbox, sent };
}

describe('Outbox', () => {
  test('Outbox.post() sends what is posted in one turn as one batch, in order', async () => {
    const { outbox, sent } = recordingOutbox();
    outbox.post([1]);
    void Promise.resolve().then(() => outbox.post([2]));
    await turn();
    expect(sent).toEqual([[[1], [2]]]);
  });

  test('Outbox.post() does not wait for the end of the turn once a batch is full', async () => {
    const { outbox, sent } = recordingOutbox(2);
    for (const each of [1, 2, 3]) outbox.post([each]);
    expect(sent).toEqual([[[1], [2]]]);
    await turn();
    expect(sent).toEqual([[[1], [2]], [[3]]]);
  });

  test('Outbox.post() refuses only the message that cannot be cloned', async () => {
    const { outbox, sent } = recordingOutbox();
    const refused: unknown[] = [];
    outbox.post([1]);
    outbox.post([2, () => {}], (reason) => refused.push(reason));
    outbox.post([3], () => refused.push('never'));
    await turn();
    expect(sent).toEqual([[[1]], [[3]]]);
    expect(refused).toHaveLength(1);
    expect((refused[0] as Error).name).toBe('DataCloneError');
  });

  test('Outbox.post() copies what cannot be moved', async () => {
    const calls: number[] = [];
    const outbox = new Outbox((_batch, transfer) => {
      if (transfer.length > 0) throw new Error('cannot be moved');
      calls.push(transfer.length);
    });
    const refused: unknown[] = [];
    outbox.post([1], (reason) => refused.push(reason), [new ArrayBuffer(8)]);
    await turn();
    expect(calls).toEqual([0]);
    expect(refused).toEqual([]);
  });

  test('Outbox.post() sends what must go alone at once, behind what waits, and leaves nothing for the end of the turn', async () => {
    const { outbox, sent } = recordingOutbox();
    outbox.post([1], undefined, undefined, true);
    expect(sent).toEqual([[[1]]]);
    outbox.post([2]);
    let lastWord: Message | undefined = [4];
    outbox.lastWord = () => {
      const word = lastWord;
      lastWord = undefined;
      return word;
    };
    outbox.post([3], undefined, undefined, true);
    expect(sent).toEqual([[[1]], [[2], [4]], [[3]]]);
    await turn();
    expect(sent).toHaveLength(3);
  });

  test('Outbox.post() refuses what must go alone and can not be cloned at once', () => {
    const { outbox, sent } = recordingOutbox();
    const refused: unknown[] = [];
    outbox.post([1, () => {}], (reason) => refused.push(reason), undefined, true);
    expect(sent).toEqual([]);
    expect((refused[0] as Error).name).toBe('DataCloneError');
  });

  test('Outbox.close() drops what is queued', async () => {
    const { outbox, sent } = recordingOutbox();
    outbox.post([1]);
    outbox.close();
    outbox.post([2]);
    await turn();
    expect(sent).toEqual([]);
  });
});
