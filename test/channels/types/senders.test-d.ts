/**
 * Senders take what they were made for: one of a narrower type is none of a wider one, and the other way round it is. Compiled by `npm run types`;
 * nothing here runs.
 */
import { broadcast, mpsc, oneshot, type StreamSink, watch } from '../../../src/channels/index.js';

interface Base {
  readonly id: number;
}
interface Sub extends Base {
  readonly name: string;
}

const [tx] = mpsc.channel<Sub>(1);
const [anyTx] = mpsc.channel<Base>(1);
const [subUnbounded] = mpsc.unboundedChannel<Sub>();
const [baseUnbounded] = mpsc.unboundedChannel<Base>();
const [subReply] = oneshot.channel<Sub>();
const [baseReply] = oneshot.channel<Base>();
const [subEvents] = broadcast.channel<Sub>(1);
const [baseEvents] = broadcast.channel<Base>(1);
const [subState] = watch.channel<Sub>({ id: 1, name: 'a' });
const [baseState] = watch.channel<Base>({ id: 1 });

export const wider: readonly unknown[] = [
  // @ts-expect-error: a Base could be sent to a receiver of Sub
  tx satisfies mpsc.Sender<Base>,
  // @ts-expect-error
  tx.downgrade() satisfies mpsc.WeakSender<Base>,
  // @ts-expect-error
  tx.tryReserve() satisfies mpsc.Permit<Base>,
  // @ts-expect-error
  tx.tryReserveMany(1) satisfies mpsc.PermitIterator<Base>,
  // @ts-expect-error
  tx.tryReserveOwned() satisfies mpsc.OwnedPermit<Base>,
  // @ts-expect-error
  subUnbounded satisfies mpsc.UnboundedSender<Base>,
  // @ts-expect-error
  subReply satisfies oneshot.Sender<Base>,
  // @ts-expect-error
  subEvents satisfies broadcast.Sender<Base>,
  // @ts-expect-error
  subEvents.downgrade() satisfies broadcast.WeakSender<Base>,
  // @ts-expect-error
  subState satisfies watch.Sender<Base>,
  // @ts-expect-error
  tx satisfies StreamSink<Base>,
];

export const narrower: readonly unknown[] = [
  anyTx satisfies mpsc.Sender<Sub>,
  anyTx.downgrade() satisfies mpsc.WeakSender<Sub>,
  anyTx.tryReserve() satisfies mpsc.Permit<Sub>,
  anyTx.tryReserveMany(1) satisfies mpsc.PermitIterator<Sub>,
  baseUnbounded satisfies mpsc.UnboundedSender<Sub>,
  baseReply satisfies oneshot.Sender<Sub>,
  anyTx satisfies StreamSink<Sub>,
  // @ts-expect-error: what it subscribes would receive a Base
  baseEvents satisfies broadcast.Sender<Sub>,
  // @ts-expect-error: what it borrows is a Base
  baseState satisfies watch.Sender<Sub>,
];
