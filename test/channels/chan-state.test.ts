import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Sender } from '../../src/channels/mpsc/bounded.js';
import { CHAN_TRANSITIONS, Chan, type ChanState } from '../../src/channels/mpsc/chan.js';
import { Receiver } from '../../src/channels/mpsc/receiver.js';

function open(): { chan: Chan<number>; tx: Sender<number>; rx: Receiver<number> } {
  const chan = new Chan<number>(2, null);
  return { chan, tx: new Sender(chan), rx: new Receiver(chan) };
}

test.for<[ChanState, ChanState, (parts: ReturnType<typeof open>) => void]>([
  ['open', 'closing', ({ rx }) => rx.close()],
  ['open', 'ended', ({ tx }) => tx.close()],
  ['closing', 'ended', ({ rx }) => void rx.tryRecv()],
])('Chan.state goes from %s to %s', ([from, to, step]) => {
  const parts = open();
  if (to !== 'ended' || from === 'closing') parts.tx.trySend(1);
  if (from === 'closing') parts.rx.close();
  expect(parts.chan.state).toBe(from);
  step(parts);
  expect(parts.chan.state).toBe(to);
  expect(CHAN_TRANSITIONS[from]).toContain(to);
});

test('Chan.state only advances along its table, whatever is called in whatever order', () => {
  const steps = [
    'send',
    'receive',
    'reserve',
    'release',
    'clone',
    'close sender',
    'close receiver',
    'dispose',
  ] as const;
  const property = fc.property(fc.array(fc.constantFrom(...steps), { maxLength: 30 }), (order) => {
    const { chan, tx, rx } = open();
    const senders = [tx];
    const permits: Disposable[] = [];
    for (const step of order) {
      const before = chan.state;
      const sender = senders.find(({ isClosed }) => !isClosed);
      if (step === 'send' && sender !== undefined && sender.capacity > 0) sender.trySend(1);
      else if (step === 'receive') rx.tryRecv();
      else if (step === 'reserve' && sender !== undefined && sender.capacity > 0) permits.push(sender.tryReserve());
      else if (step === 'release') permits.pop()?.[Symbol.dispose]();
      else if (step === 'clone' && sender !== undefined) senders.push(sender.clone());
      else if (step === 'close sender') senders.pop()?.close();
      else if (step === 'close receiver') rx.close();
      else if (step === 'dispose') rx[Symbol.dispose]();
      if (chan.state !== before) expect(CHAN_TRANSITIONS[before]).toContain(chan.state);
      const isOver = chan.free === chan.max && (chan.strong === 0 || before !== 'open');
      if (isOver) expect(chan.state).toBe('ended');
    }
  });
  fc.assert(property, { numRuns: 500 });
});
