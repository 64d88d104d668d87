/** In place of `process` where a runtime has none: unhandled rejections as the web tells of them. */
import { NodeOnly } from './node-only.js';

type Listener = (reason: unknown) => void;
const web = globalThis as unknown as EventTarget;
const handled = new WeakSet<object>();
const listeners = new Map<Listener, (event: Event) => void>();

/** What the web's ports have beside Node's. */
interface WebPort {
  onmessage: (() => void) | null;
  postMessage(value: unknown): void;
  close(): void;
}

/** A macrotask, as soon as one can be: nested timers of browsers take 4 ms. In workerd messages come before all timers, so it has none of them. */
export function webImmediate(act: (...args: unknown[]) => void, ...args: unknown[]): void {
  if ('WebSocketPair' in globalThis) {
    setTimeout(act, 0, ...args);
    return;
  }
  const { port1, port2 } = new MessageChannel() as unknown as Record<'port1' | 'port2', WebPort>;
  port1.onmessage = () => {
    port1.close();
    act(...args);
  };
  port2.postMessage(0);
}

export const webProcess = {
  on(name: string, listener: Listener): void {
    // What throws in a callback is told by the runtime's own log.
    if (name === 'uncaughtException') return;
    if (name !== 'unhandledRejection') throw new NodeOnly(`process.on('${name}')`);
    const tell = (event: Event): void => {
      event.preventDefault();
      const { promise, reason } = event as Event & { promise: unknown; reason: unknown };
      handled.delete(promise as object);
      // workerd tells of each rejection at once, and takes it back when it is handled in the same turn.
      setTimeout(() => {
        if (!handled.has(promise as object)) listener(reason);
      }, 0);
    };
    listeners.set(listener, tell);
    web.addEventListener('unhandledrejection', tell);
    web.addEventListener('rejectionhandled', (event: Event) => {
      handled.add((event as Event & { promise: object }).promise);
    });
  },
  off(_name: string, listener: Listener): void {
    const tell = listeners.get(listener);
    if (tell !== undefined) web.removeEventListener('unhandledrejection', tell);
    listeners.delete(listener);
  },
  get memoryUsage(): never {
    throw new NodeOnly('process.memoryUsage');
  },
};
