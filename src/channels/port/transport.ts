/**
 * The kinds of port that a bridge takes, and what it needs of them: post, hear, and notice that the other side is gone.
 */
import { faultOf } from '../../core/index.js';

/** A port with Node's events: a `MessagePort`, a `Worker` or `parentPort` of `node:worker_threads`. */
export interface NodePort {
  /** Posts a message, and moves what the list names. */
  postMessage(message: unknown, transfer?: never): void;
  /** Adds a listener. */
  on(event: string, listener: never): unknown;
  /** Removes a listener. */
  off(event: string, listener: never): unknown;
}

/** A port with DOM events: a `MessagePort`, a `Worker` or the global scope of a worker, in a browser. */
export interface WebPort {
  /** Posts a message, and moves what the list names. */
  postMessage(message: unknown, transfer?: never): void;
  /** Adds a listener. */
  addEventListener(type: string, listener: never): void;
  /** Removes a listener. */
  removeEventListener(type: string, listener: never): void;
}

/** A process with an IPC channel: a `ChildProcess` of `fork`, or `process` in the child. Nothing can be transferred through it. */
export interface ProcessPort {
  /** Sends a message; absent in a process without an IPC channel. */
  send?(message: never, ...rest: never[]): boolean;
  /** Adds a listener. */
  on(event: string, listener: never): unknown;
  /** Removes a listener. */
  off(event: string, listener: never): unknown;
}

/** Whatever a bridge can lie over. */
export type PortLike = NodePort | WebPort | ProcessPort;

/** What a bridge hears of its port. */
export interface PortEvents {
  message(data: unknown): void;
  /** A message could not be read: `messageerror`. */
  unreadable(cause: unknown): void;
  /** The other side is gone. */
  gone(cause?: unknown): void;
}

/** A port as a bridge uses it. */
export interface Transport {
  readonly canTransfer: boolean;
  /** Posts a message. @throws DataCloneError When it cannot be cloned. */
  post(message: unknown, transfer?: readonly unknown[]): void;
  /** Sets whether the port keeps the process alive, where that can be set without a side effect: for a `MessagePort`. */
  hold(isHeld: boolean): void;
  /** Stops listening. */
  detach(): void;
}

type Listener = (...args: unknown[]) => void;

interface Listening {
  on?(event: string, listener: Listener): unknown;
  off?(event: string, listener: Listener): unknown;
  addEventListener?(type: string, listener: Listener): void;
  removeEventListener?(type: string, listener: Listener): void;
  postMessage?(message: unknown, transfer?: readonly unknown[]): void;
  send?(message: unknown, handle: undefined, options: undefined, callback: (error: Error | null) => void): boolean;
  start?(): void;
  ref?(): void;
  unref?(): void;
}

/** Listens to a port. */
export function attach(port: PortLike, events: PortEvents): Transport {
  const given = port as Listening;
  const posts = typeof given?.postMessage === 'function';
  const hasNodeEvents = typeof given?.on === 'function';
  if (!(posts || (typeof given?.send === 'function' && hasNodeEvents)) || !(hasNodeEvents || given.addEventListener)) {
    throw faultOf('Cannot bridge', 'port', 'a MessagePort, a Worker or a process with an IPC channel', port);
  }
  // Only what is called `close` of a MessagePort, `exit` of a Worker and `disconnect` of a process says that nothing will come any more. An `error`
  // listener would hide the errors of a Worker from the program.
  const listeners: Record<string, Listener> = {
    message: (data) => events.message(hasNodeEvents ? data : (data as { data: unknown }).data),
    messageerror: (cause) => events.unreadable(cause instanceof Error ? cause : undefined),
    close: () => events.gone(),
    exit: () => events.gone(),
    disconnect: () => events.gone(),
  };
  const names = Object.keys(listeners).filter((name) => posts || !['close', 'messageerror'].includes(name));
  for (const name of names) {
    if (hasNodeEvents) given.on?.(name, listeners[name] as Listener);
    else given.addEventListener?.(name, listeners[name] as Listener);
  }
  if (!hasNodeEvents) given.start?.();
  const isMessagePort = typeof given.start === 'function' && typeof given.ref === 'function';
  return {
    canTransfer: posts,
    post(message, transfer) {
      if (posts) given.postMessage?.(message, transfer);
      else given.send?.(message, undefined, undefined, (error) => error && events.gone(error));
    },
    hold(isHeld) {
      if (isMessagePort) given[isHeld ? 'ref' : 'unref']?.();
    },
    detach() {
      for (const name of names) {
        if (hasNodeEvents) given.off?.(name, listeners[name] as Listener);
        else given.removeEventListener?.(name, listeners[name] as Listener);
      }
    },
  };
}
