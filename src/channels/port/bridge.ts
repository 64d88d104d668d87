import { describeThrown, faultOf, requireFunction, requireOptions, requirePositiveInteger } from '../../core/index.js';
import { PortClosedError, PortProtocolError } from '../errors.js';
import { Sender } from '../mpsc/bounded.js';
import { type ChannelOptions, settingsOf, UNBOUNDED } from '../mpsc/chan.js';
import { Receiver } from '../mpsc/receiver.js';
import { type Line, RecvEnd, SendEnd } from './ends.js';
import {
  addressesOf,
  BYE,
  type Failure,
  type FromReceiver,
  type FromSender,
  isParcel,
  packFailure,
  type Parcel,
  unpackFailure,
} from './messages.js';
import { attach, type PortLike, type Transport } from './transport.js';

/** The options of the end that receives. */
export interface BridgeReceiverOptions<T> {
  /** The name of the channel, the same at both ends; `''` by default. */
  readonly name?: string | undefined;
  /**
   * Called with each value that arrived and will not be received: those in the channel when its receiver is disposed of, and those that arrive
   * afterwards.
   */
  readonly onUndelivered?: ((value: T) => void) | undefined;
}

/** The options of the end that sends. */
export interface BridgeSenderOptions<T> extends ChannelOptions<T> {
  /** The name of the channel, the same at both ends; `''` by default. */
  readonly name?: string | undefined;
  /**
   * What of a value is moved instead of copied, such as its `ArrayBuffer`: the transfer list of `postMessage`. What was moved is empty at this end
   * afterwards, in `onUndelivered` too.
   */
  readonly transfer?: ((value: T) => readonly unknown[]) | undefined;
}

/** An end as its bridge sees it. */
interface End {
  readonly capacity: number;
  hear(message: never): void;
  take?(value: unknown): void;
  lose(error: Error): void;
}

type Side = 'sender' | 'receiver';
type Message = FromSender | FromReceiver;

const SIDES: Readonly<Record<Side, { readonly does: string; readonly other: Side }>> = {
  sender: { does: 'sends', other: 'receiver' },
  receiver: { does: 'receives', other: 'sender' },
};

/**
 * Channels over one port. Made by {@link bridge}.
 *
 * It lets a `MessagePort` of Node keep the process alive as long as a channel of it is in use. Over any other port it listens until it is closed or
 * the other side is gone, which may keep the process alive.
 */
export class Bridge implements Disposable {
  readonly #port: PortLike;
  readonly #transport: Transport;
  readonly #ends = new Map<string, End>();
  /** What to do with a parcel, by its address. */
  readonly #handlers = new Map<string, (content: never) => void>();
  /** The parcels of a channel that came before its end here was made, from its opening message on. */
  readonly #early = new Map<string, Parcel[]>();
  #lost: Error | null = null;

  /** @internal */
  constructor(port: PortLike) {
    this.#port = port;
    this.#transport = attach(port, {
      message: (data) => {
        if (isParcel(data)) this.#hear(data);
      },
      unreadable: (cause) => this.#lose(new PortProtocolError('A message of the port could not be read', { cause })),
      gone: (cause) => this.#lose(new PortClosedError('The other side of the port is gone', { cause })),
    });
    this.#transport.hold(false);
  }

  /** Whether the bridge was closed, here or at the other side, or the other side is gone. */
  get isClosed(): boolean {
    return this.#lost !== null;
  }

  /**
   * Makes the sending end of a bounded channel. It can be sent to at once: values wait for the other end to be made.
   *
   * The channel holds at most `capacity` values that were sent and not received, wherever they are; a permit holds one of these slots. A value that
   * cannot be cloned fails its own send with the error of `postMessage`, and its slot is free again. When the receiver is disposed of, or its side
   * is gone, `onUndelivered` gets every value that was sent and not received, and sends fail with a {@link SendError}.
   *
   * @param capacity The number of values that the channel holds: the same at both ends.
   * @param options See {@link BridgeSenderOptions}.
   * @returns The sender; clone it for each producer, and close it.
   * @throws PortClosedError When the bridge is closed.
   * @example
   * ```ts
   * const { port1, port2 } = new MessageChannel();
   * const tx = bridge(port1).sender<number>(4);
   * const rx = bridge(port2).receiver<number>(4);
   * await tx.send(1);
   * tx.close();
   * await rx.recv(); // => { done: false, value: 1 }
   * await rx.recv(); // => { done: true, value: undefined }
   * ```
   */
  sender<T>(capacity: number, options?: BridgeSenderOptions<T>): Sender<T> {
    const action = 'Cannot create sender';
    const { name, transfer, onUndelivered, clock } = requireOptions<BridgeSenderOptions<T>>(action, options, [
      'name',
      'transfer',
      'onUndelivered',
      'clock',
    ]);
    if (transfer !== undefined) {
      requireFunction(action, 'transfer', transfer);
      if (!this.#transport.canTransfer) throw new TypeError(`${action}: nothing can be transferred to a process`);
    }
    const settings = settingsOf<T>(action, { onUndelivered, clock });
    const channel = this.#channelOf(action, 'sender', name, capacity);
    const end = new SendEnd<T>(capacity, settings, this.#lineOf<FromSender>('sender', channel), transfer);
    this.#add('sender', channel, {
      capacity,
      hear: (message: FromReceiver) => end.hear(message),
      lose: () => end.lose(),
    });
    return new Sender(end);
  }

  /**
   * Makes the receiving end of a bounded channel. It is an arm of `select` and an async iterable, as every receiver is.
   *
   * When the sending side is gone, the waits of this end reject with a {@link PortClosedError} once the values that arrived are taken. Its
   * `capacity` is 0 while the channel is open, because the other end has the free slots.
   *
   * @param capacity The number of values that the channel holds: the same at both ends. Otherwise both end, and this one's waits reject with a
   * {@link PortProtocolError}.
   * @param options See {@link BridgeReceiverOptions}.
   * @throws PortClosedError When the bridge is closed.
   */
  receiver<T>(capacity: number, options?: BridgeReceiverOptions<T>): Receiver<T> {
    const action = 'Cannot create receiver';
    const { name, onUndelivered } = requireOptions<BridgeReceiverOptions<T>>(action, options, [
      'name',
      'onUndelivered',
    ]);
    const settings = settingsOf<T>(action, { onUndelivered });
    const channel = this.#channelOf(action, 'receiver', name, capacity);
    const end = new RecvEnd<T>(capacity, settings, this.#lineOf<FromReceiver>('receiver', channel));
    this.#add('receiver', channel, {
      capacity,
      hear: (message: FromSender) => end.hear(message),
      take: (value) => {
        end.put(value as T);
        if (end.values.length > capacity) {
          throw new PortProtocolError('The other side has sent more values than the channel holds');
        }
      },
      lose: (error) => end.finish({ reason: error }),
    });
    return new Receiver(end);
  }

  /**
   * Ends every channel of the bridge at both sides, as if each side were gone for the other, and stops listening to the port. The port itself stays
   * open. A second call does nothing.
   */
  close(): void {
    if (this.#lost !== null) return;
    this.#post([BYE, null]);
    this.#lose(new PortClosedError('The bridge was closed'));
  }

  /** The same as `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }

  #channelOf(action: string, side: Side, name: unknown = '', capacity: unknown): string {
    requirePositiveInteger(action, 'capacity', capacity, UNBOUNDED - 1);
    if (typeof name !== 'string') throw faultOf(action, 'name', 'a string', name);
    if (this.#lost !== null) throw new PortClosedError(`${action}: the bridge is closed`, { cause: this.#lost });
    if (this.#ends.has(keyOf(side, name))) {
      throw new RangeError(`${action}: this side already ${SIDES[side].does} on channel '${name}'`);
    }
    return name;
  }

  #lineOf<M extends Message>(side: Side, channel: string): Line<M> {
    const addresses = addressesOf(channel);
    return {
      post: (message) => {
        if (message.kind === 'end') this.#postEnd(addresses.sender, message.failure);
        else this.#post([addresses[side], message]);
      },
      postValue: (value, transfer) => this.#post([addresses.values, value], transfer),
      remove: () => this.#remove(side, channel),
    };
  }

  /** Posts the end of a channel. A reason that cannot be cloned crosses as an error with its text. */
  #postEnd(address: string, failure: Failure): void {
    const postAs = (told: Failure): void => this.#post([address, { kind: 'end', failure: packFailure(told) }]);
    try {
      postAs(failure);
    } catch {
      const { name, message } = describeThrown(failure?.reason);
      postAs({ reason: new Error(`${name}: ${message}`) });
    }
  }

  #add(side: Side, channel: string, end: End): void {
    const key = keyOf(side, channel);
    const addresses = addressesOf(channel);
    this.#ends.set(key, end);
    const { take } = end;
    if (take !== undefined) this.#handlers.set(addresses.values, this.#guarded(side, channel, end, take));
    this.#handlers.set(
      addresses[SIDES[side].other],
      this.#guarded(side, channel, end, (message: Message) => hear(end, message)),
    );
    this.#transport.hold(true);
    const early = this.#early.get(key);
    this.#early.delete(key);
    for (const parcel of early ?? []) this.#hear(parcel);
  }

  /** Ends a channel whose two ends do not agree, and lets other errors through: those of the user's own hook. */
  #guarded<C>(side: Side, channel: string, end: End, handle: (content: C) => void): (content: C) => void {
    return (content) => {
      try {
        handle(content);
      } catch (error) {
        if (!(error instanceof PortProtocolError)) throw error;
        this.#remove(side, channel);
        end.lose(error);
      }
    };
  }

  #remove(side: Side, channel: string): void {
    const addresses = addressesOf(channel);
    this.#ends.delete(keyOf(side, channel));
    this.#handlers.delete(addresses[SIDES[side].other]);
    if (side === 'receiver') this.#handlers.delete(addresses.values);
    if (this.#ends.size === 0) this.#transport.hold(false);
  }

  #hear(parcel: Parcel): void {
    const [address, content] = parcel;
    const handler = this.#handlers.get(address);
    if (handler !== undefined) handler(content as never);
    else if (address === BYE) this.#lose(new PortClosedError('The bridge was closed at the other side'));
    else this.#keep(parcel);
  }

  /** Keeps what came for an end that is not made yet. What comes for one that is over is dropped: it has no opening message. */
  #keep(parcel: Parcel): void {
    const [address, content] = parcel;
    const [, from, channel] = /^millrace (values|sender|receiver) (.*)$/s.exec(address) ?? [];
    if (channel === undefined) return;
    const key = keyOf(from === 'receiver' ? 'sender' : 'receiver', channel);
    if (from !== 'values' && (content as Message | null)?.kind === 'open') this.#early.set(key, [parcel]);
    else this.#early.get(key)?.push(parcel);
  }

  #post(parcel: Parcel, transfer?: readonly unknown[]): void {
    if (this.#lost === null) this.#transport.post(parcel, transfer);
  }

  #lose(error: Error): void {
    if (this.#lost !== null) return;
    this.#lost = error;
    this.#transport.detach();
    bridges.delete(this.#port);
    const ends = [...this.#ends.values()];
    this.#ends.clear();
    this.#handlers.clear();
    this.#early.clear();
    let thrown: [unknown] | undefined;
    for (const end of ends) {
      try {
        end.lose(error);
      } catch (fault) {
        thrown ??= [fault];
      }
    }
    if (thrown !== undefined) throw thrown[0];
  }
}

function keyOf(side: Side, channel: string): string {
  return `${side} ${channel}`;
}

/** Tells an end a message, or checks that both ends are of one capacity. */
function hear(end: End, message: Message): void {
  if (message.kind !== 'open') {
    end.hear((message.kind === 'end' ? { kind: 'end', failure: unpackFailure(message.failure) } : message) as never);
  } else if (message.capacity !== end.capacity) {
    const { capacity } = end;
    throw new PortProtocolError(`The channel holds ${capacity} values here and ${message.capacity} at the other side`);
  }
}

const bridges = new WeakMap<PortLike, Bridge>();

/**
 * Bridges channels to another thread, worker, frame or process.
 *
 * Both sides call it on their port, and make the ends of each channel under the same name: one side the sender, the other the receiver. A port may
 * carry many channels, in both directions, beside messages of other kinds. A second call with the same port gives the same bridge.
 *
 * @param port A `MessagePort`, a `Worker`, `parentPort` or the global scope of a worker, in Node or in a browser; or a process with an IPC channel,
 * best with `serialization: 'advanced'`.
 * @returns The bridge.
 * @throws TypeError When the port is none of these.
 * @example
 * ```ts
 * const { port1, port2 } = new MessageChannel();
 * const tx = bridge(port1).sender<string>(16, { name: 'jobs' });
 * const rx = bridge(port2).receiver<string>(16, { name: 'jobs' });
 * await tx.send('resize');
 * (await rx.recv()).value; // => 'resize'
 * bridge(port1).close();
 * ```
 */
export function bridge(port: PortLike): Bridge {
  let made = bridges.get(port);
  if (made === undefined) {
    made = new Bridge(port);
    bridges.set(port, made);
  }
  return made;
}
