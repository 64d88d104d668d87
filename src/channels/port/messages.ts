/**
 * What the two ends of a channel tell each other.
 */

/** How a channel ended: with the reason that a sender closed with, or without one. */
export type Failure = { readonly reason: unknown } | null;

/** What a sender's end tells the other end, beside its values. */
export type FromSender =
  /** The end was made. */
  | { readonly kind: 'open'; readonly capacity: number }
  /** Slots that will carry no value: the channel closes. */
  | { readonly kind: 'return'; readonly slots: number }
  /** No value will follow. */
  | { readonly kind: 'end'; readonly failure: Failure };

/** What a receiver's end tells the other end. */
export type FromReceiver =
  /** The end was made. */
  | { readonly kind: 'open'; readonly capacity: number }
  /** Slots whose values were received. */
  | { readonly kind: 'taken'; readonly slots: number }
  | { readonly kind: 'closing' }
  /** The receiver was disposed of. */
  | { readonly kind: 'gone' }
  /** Nothing will follow. */
  | { readonly kind: 'over' };

/**
 * What crosses a port: an address, and a value or a message. The array and its one string are what costs the least to clone: a value in an object of
 * several keys takes twice the time (measured).
 */
export type Parcel = readonly [address: string, content: unknown];

/** The address of a channel's values, of its sender's messages, and of its receiver's. */
export function addressesOf(channel: string): Readonly<Record<'values' | 'sender' | 'receiver', string>> {
  return {
    values: `millrace values ${channel}`,
    sender: `millrace sender ${channel}`,
    receiver: `millrace receiver ${channel}`,
  };
}

/** The address of the word that a bridge was closed. */
export const BYE: string = 'millrace bye';

/** Whether data that came through a port is a parcel of a bridge. */
export function isParcel(data: unknown): data is Parcel {
  return (
    Array.isArray(data) &&
    data.length === 2 &&
    typeof data[0] === 'string' &&
    (data[0] as string).startsWith('millrace ')
  );
}

/** A failure as it travels: an error that is cloned loses the name and the code of its class. */
export function packFailure(failure: Failure): Failure {
  if (!(failure?.reason instanceof Error)) return failure;
  const { reason } = failure;
  return { reason, name: reason.name, code: (reason as { code?: unknown }).code } as Failure;
}

/** The failure that arrived. */
export function unpackFailure(failure: Failure): Failure {
  const { reason, name, code } = (failure ?? {}) as { reason?: unknown; name?: unknown; code?: unknown };
  if (reason instanceof Error) {
    if (typeof name === 'string')
      Object.defineProperty(reason, 'name', { value: name, configurable: true, writable: true });
    if (typeof code === 'string')
      Object.defineProperty(reason, 'code', { value: code, configurable: true, writable: true });
  }
  return failure && { reason };
}
