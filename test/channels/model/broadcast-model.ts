import fc from 'fast-check';
import { expect } from 'vitest';
import { broadcast } from '../../../src/channels/index.js';

const ok = <T>(value: T) => ({ state: 'ok', value });
const empty = { state: 'empty' };
const closed = { state: 'closed' };
const lagged = (skipped: number) => ({ state: 'lagged', skipped });

/** What tokio documents, with nothing clever: every receiver holds its own list of all values since it subscribed. */
class Model {
  readonly sent: number[] = [];
  readonly cursors = new Map<number, number>();
  readonly capacity: number;
  open = true;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  tryRecv(receiver: number): unknown {
    const cursor = this.cursors.get(receiver) as number;
    const oldest = Math.max(0, this.sent.length - this.capacity);
    if (cursor < oldest) {
      this.cursors.set(receiver, oldest);
      return lagged(oldest - cursor);
    }
    if (cursor === this.sent.length) return this.open ? empty : closed;
    this.cursors.set(receiver, cursor + 1);
    return ok(this.sent[cursor]);
  }

  /** How many values some receiver has still to read. */
  get held(): number {
    const oldest = Math.max(0, this.sent.length - this.capacity);
    const slowest = Math.min(this.sent.length, ...this.cursors.values());
    return this.sent.length - Math.max(oldest, slowest);
  }
}

/** Runs the model against the real thing, `runs` times. */
export async function checkBroadcast(runs: number): Promise<void> {
  const operation = fc.oneof(
    { weight: 5, arbitrary: fc.constant({ type: 'send' } as const) },
    { weight: 5, arbitrary: fc.record({ type: fc.constant('recv' as const), who: fc.nat(4) }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('recvAsync' as const), who: fc.nat(4) }) },
    { weight: 1, arbitrary: fc.constant({ type: 'subscribe' } as const) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('drop' as const), who: fc.nat(4) }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('hops' as const), who: fc.nat(3) }) },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 5 }),
      fc.array(operation, { maxLength: 60 }),
      async (capacity, steps) => {
        const model = new Model(capacity);
        const [tx, first] = broadcast.channel<number>(capacity);
        const receivers = [first];
        let next = 0;
        model.cursors.set(0, 0);
        let lastId = 0;
        const ids = [0];
        const pick = (who: number) => who % receivers.length;
        for (const step of steps) {
          if (step.type === 'send') {
            if (receivers.length === 0) expect(() => tx.send(0)).toThrow();
            else {
              expect(tx.send(next)).toBe(receivers.length);
              model.sent.push(next++);
            }
          } else if (step.type === 'subscribe') {
            receivers.push(tx.subscribe());
            ids.push(++lastId);
            model.cursors.set(lastId, model.sent.length);
          } else if (step.type === 'hops') {
            for (let i = 0; i < step.who; i++) await null;
          } else if (receivers.length > 0) {
            const at = pick(step.who);
            const rx = receivers[at] as broadcast.Receiver<number>;
            const id = ids[at] as number;
            if (step.type === 'drop') {
              rx.close();
              receivers.splice(at, 1);
              ids.splice(at, 1);
              model.cursors.delete(id);
            } else if (step.type === 'recv') {
              expect(rx.tryRecv()).toEqual(model.tryRecv(id));
            } else if (rx.len > 0) {
              const expected = model.tryRecv(id) as { state: string; value?: number; skipped?: number };
              if (expected.state === 'lagged') {
                await expect(rx.recv()).rejects.toMatchObject({ skipped: expected.skipped });
              } else expect((await rx.recv()).value).toBe(expected.value);
            }
          }
          expect(tx.receiverCount).toBe(receivers.length);
          expect(tx.len).toBe(model.held);
          for (const [at, rx] of receivers.entries()) {
            expect(rx.len).toBe(model.sent.length - (model.cursors.get(ids[at] as number) as number));
          }
        }
        tx.close();
        model.open = false;
        for (const [at, rx] of receivers.entries()) {
          for (;;) {
            const expected = model.tryRecv(ids[at] as number);
            expect(rx.tryRecv()).toEqual(expected);
            if ((expected as { state: string }).state === 'closed') break;
          }
        }
      },
    ),
    { numRuns: runs },
  );
}
