import { bridge } from '../../../src/channels/port/index.js';
import type { mpsc } from '../../../src/channels/index.js';
import type { AnySender, Flavour } from '../support/flavours.js';

type Listener = (event: { readonly data: unknown }) => void;

/**
 * A port that hands a message over while it is posted, uncloned: what crosses is then the protocol alone, and the suite's synchronous looks hold.
 * A held port hands over one message at a time, when told to.
 */
class LoopbackPort {
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #held: unknown[] | null;
  peer!: LoopbackPort;

  constructor(isHeld: boolean) {
    this.#held = isHeld ? [] : null;
  }

  postMessage(data: unknown): void {
    if (this.#held === null) this.peer.#hear(data);
    else this.#held.push(data);
  }

  /** Hands over the oldest message that was posted here. @returns False when there is none. */
  deliverOne(): boolean {
    if (this.#held === null || this.#held.length === 0) return false;
    this.peer.#hear(this.#held.shift());
    return true;
  }

  #hear(data: unknown): void {
    for (const listener of this.#listeners.get('message') ?? []) listener({ data });
  }

  addEventListener(type: string, listener: Listener): void {
    this.#listeners.set(type, (this.#listeners.get(type) ?? new Set()).add(listener));
  }

  removeEventListener(type: string, listener: Listener): void {
    this.#listeners.get(type)?.delete(listener);
  }
}

/** Two loopback ports that are each other's peer. */
export function loopback({ isHeld = false }: { readonly isHeld?: boolean } = {}): [LoopbackPort, LoopbackPort] {
  const [a, b] = [new LoopbackPort(isHeld), new LoopbackPort(isHeld)];
  a.peer = b;
  b.peer = a;
  return [a, b];
}

/** A bounded channel whose two ends lie on two sides of a loopback port. */
export const bridged: Flavour = {
  name: 'bridged',
  countsSenders: false,
  create: <T>(capacity: number, options?: mpsc.ChannelOptions<T>) => {
    const [here, there] = loopback();
    // The hook stands at the receiver's end: at both it would hear of a value twice.
    const { clock, ...rest } = options ?? {};
    const rx = bridge(there).receiver<T>(capacity, rest);
    const tx = bridge(here).sender<T>(capacity, { clock });
    return [tx, rx] as unknown as readonly [AnySender<T>, mpsc.Receiver<T>];
  },
};
