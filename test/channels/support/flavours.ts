import { mpsc } from '../../../src/channels/index.js';

/** What the conformance suite needs of a sender, whichever kind of channel it belongs to. */
export interface AnySender<T> extends Disposable, AsyncDisposable {
  readonly isClosed: boolean;
  readonly strongCount: number;
  readonly weakCount: number;
  send(value: T): Promise<void> | void;
  clone(): AnySender<T>;
  downgrade(): AnyWeakSender<T>;
  sameChannel(other: AnySender<T>): boolean;
  closed(options?: { signal?: AbortSignal }): Promise<void>;
  close(reason?: unknown): void;
}

export interface AnyWeakSender<T> extends Disposable {
  readonly strongCount: number;
  readonly weakCount: number;
  upgrade(): AnySender<T> | undefined;
  clone(): AnyWeakSender<T>;
  close(): void;
}

/** A kind of channel: the same suite runs against each. */
export interface Flavour {
  readonly name: string;
  /** Whether its receiver lives with its senders and counts them. */
  readonly countsSenders: boolean;
  create<T>(capacity: number, options?: mpsc.ChannelOptions<T>): readonly [AnySender<T>, mpsc.Receiver<T>];
}

export const bounded: Flavour = {
  name: 'bounded',
  countsSenders: true,
  create: <T>(capacity: number, options?: mpsc.ChannelOptions<T>) =>
    mpsc.channel<T>(capacity, options) as unknown as readonly [AnySender<T>, mpsc.Receiver<T>],
};

export const unbounded: Flavour = {
  name: 'unbounded',
  countsSenders: true,
  create: <T>(_capacity: number, options?: mpsc.ChannelOptions<T>) =>
    mpsc.unboundedChannel<T>(options) as unknown as readonly [AnySender<T>, mpsc.Receiver<T>],
};

/** A send as a promise, whether it waits or throws. */
export async function sendInto<T>(tx: AnySender<T>, value: T): Promise<void> {
  await tx.send(value);
}
