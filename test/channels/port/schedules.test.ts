import fc from 'fast-check';
import { expect, it } from 'vitest';
import { FullError, type mpsc, SendError } from '../../../src/channels/index.js';
import { type Bridge, bridge } from '../../../src/channels/port/index.js';
import { drained } from '../../support/settlement.js';
import { loopback } from './loopback.js';

type Step =
  | 'trySend'
  | 'send'
  | 'reserve'
  | 'usePermit'
  | 'releasePermit'
  | 'tryRecv'
  | 'recv'
  | 'toReceiver'
  | 'toSender'
  | 'turn'
  | 'closeSender'
  | 'closeReceiver'
  | 'drop'
  | 'lose';

const steps = fc.array(
  fc.oneof(
    {
      weight: 12,
      arbitrary: fc.constantFrom<Step>('trySend', 'send', 'tryRecv', 'recv', 'toReceiver', 'toSender', 'turn'),
    },
    { weight: 6, arbitrary: fc.constantFrom<Step>('reserve', 'usePermit', 'releasePermit') },
    { weight: 1, arbitrary: fc.constantFrom<Step>('closeSender', 'closeReceiver', 'drop', 'lose') },
  ),
  { maxLength: 60 },
);

/** A channel over a port whose messages arrive when told to, and what was done with it. */
class World {
  readonly #ports = loopback({ isHeld: true });
  readonly #here: Bridge;
  readonly #permits: mpsc.Permit<number>[] = [];
  readonly capacity: number;
  readonly accepted: number[] = [];
  readonly received: number[] = [];
  readonly lost: number[] = [];
  readonly dropped: number[] = [];
  readonly tx: mpsc.Sender<number>;
  readonly rx: mpsc.Receiver<number>;
  pending = 0;
  #next = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    const [here, there] = this.#ports;
    this.#here = bridge(here);
    this.tx = this.#here.sender(capacity, { onUndelivered: (value) => this.lost.push(value) });
    this.rx = bridge(there).receiver(capacity, { onUndelivered: (value) => this.dropped.push(value) });
  }

  #waitFor(wait: Promise<unknown>): void {
    this.pending++;
    wait.catch((error) => expect(error).toBeInstanceOf(Error)).finally(() => this.pending--);
  }

  async run(step: Step): Promise<void> {
    const value = this.#next++;
    try {
      if (step === 'trySend') {
        this.tx.trySend(value);
        this.accepted.push(value);
      } else if (step === 'send') {
        this.#waitFor(this.tx.send(value).then(() => this.accepted.push(value)));
      } else if (step === 'reserve') {
        this.#waitFor(this.tx.reserve().then((permit) => this.#permits.push(permit)));
      } else if (step === 'usePermit') {
        const permit = this.#permits.shift();
        if (permit !== undefined) this.accepted.push(value);
        permit?.send(value);
      } else if (step === 'releasePermit') this.#permits.shift()?.release();
      else if (step === 'tryRecv') {
        const taken = this.rx.tryRecv();
        if (taken.state === 'ok') this.received.push(taken.value);
      } else if (step === 'recv') {
        this.#waitFor(this.rx.recv().then(({ done, value }) => done || this.received.push(value)));
      } else if (step === 'toReceiver') this.#ports[0].deliverOne();
      else if (step === 'toSender') this.#ports[1].deliverOne();
      else if (step === 'turn') await drained();
      else if (step === 'closeSender') this.tx.close();
      else if (step === 'closeReceiver') this.rx.close();
      else if (step === 'drop') this.rx[Symbol.dispose]();
      else this.#here.close();
    } catch (error) {
      expect([FullError, SendError].some((known) => error instanceof known)).toBe(true);
    }
    this.check();
  }

  check(): void {
    const out = this.accepted.length - this.received.length - this.lost.length;
    expect(out).toBeLessThanOrEqual(this.capacity);
    expect(this.tx.capacity).toBeGreaterThanOrEqual(0);
    expect(this.tx.capacity).toBeLessThanOrEqual(this.capacity);
  }

  /** Ends the channel and lets everything arrive. */
  async finish(): Promise<void> {
    await drained();
    for (const permit of this.#permits.splice(0)) permit.release();
    this.tx.close();
    for (let round = 0; round < 6; round++) {
      for (const port of this.#ports) while (port.deliverOne());
      await drained();
    }
    this.rx[Symbol.dispose]();
    for (let round = 0; round < 6; round++) {
      for (const port of this.#ports) while (port.deliverOne());
      await drained();
    }
  }
}

it('no schedule of a bridged channel loses, repeats or reorders a value, or leaves a wait behind', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 4 }), steps, async (capacity, schedule) => {
      const world = new World(capacity);
      for (const step of schedule) await world.run(step);
      await world.finish();
      expect(world.pending).toBe(0);
      const isAscending = (values: number[]) =>
        values.every((value, at) => at === 0 || (values[at - 1] as number) < value);
      if (!schedule.includes('usePermit')) expect(isAscending(world.received)).toBe(true);
      // Each accepted value was received or came back; what was dropped at the receiver's end came back too.
      const told = [...world.received, ...world.lost].sort((a, b) => a - b);
      const accepted = [...world.accepted].sort((a, b) => a - b);
      if (schedule.includes('lose')) for (const value of accepted) expect(told).toContain(value);
      else expect(told).toEqual(accepted);
    }),
    { numRuns: 1000 },
  );
});
