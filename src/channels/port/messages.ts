/**
 * What the two ends of a channel tell each other.
 */

/** How a channel ended: with the reason that a sender closed with, or without one. */
export type Failure = { readonly reason: unknown } | null;

export type FromSender =
  /** A sender's end was made. */
  | { readonly kind: 'sender'; readonly capacity: number }
  | { readonly kind: 'value'; readonly value: unknown }
  /** Slots that will carry no value: the channel closes. */
  | { readonly kind: 'return'; readonly slots: number }
  | { readonly kind: 'end'; readonly failure: Failure };

export type FromReceiver =
  /** A receiver's end was made. */
  | { readonly kind: 'receiver'; readonly capacity: number }
  /** Slots whose values were received. */
  | { readonly kind: 'taken'; readonly slots: number }
  | { readonly kind: 'closing' }
  /** The receiver was disposed of. */
  | { readonly kind: 'gone' }
  /** Nothing will follow. */
  | { readonly kind: 'over' };

/** A message of one channel, or the word that the bridge was closed. */
export interface Envelope {
  /** Tells our messages from others that come through the same port. */
  readonly millrace: 'bridge';
  readonly channel: string;
  readonly message: FromSender | FromReceiver | { readonly kind: 'bye' };
}

const TO_SENDER: ReadonlySet<string> = new Set<FromReceiver['kind']>(['receiver', 'taken', 'closing', 'gone', 'over']);

/** Whether a message is for the sender's end. */
export function isForSender(message: Envelope['message']): message is FromReceiver {
  return TO_SENDER.has(message.kind);
}

/** Whether data that came through a port is a message of a bridge. */
export function isEnvelope(data: unknown): data is Envelope {
  return (
    typeof data === 'object' &&
    data !== null &&
    (data as Envelope).millrace === 'bridge' &&
    typeof (data as Envelope).channel === 'string' &&
    typeof (data as Envelope).message === 'object'
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
