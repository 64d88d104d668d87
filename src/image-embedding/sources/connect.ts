/**
 * Connects to the first of several addresses that answers: the next is tried while the one before still has its time, as RFC 8305 has it. Node's own
 * way gives up an address after 250 ms for good.
 */
import { connect, type Socket } from 'node:net';
import type { HostAddress } from './url-policy.js';

/** Begins a connection; tests give their own. */
export type Dial = (address: HostAddress, port: number) => Socket;

const NEXT_MS = 250;

const dialDirectly: Dial = ({ address, family }, port) => connect({ host: address, port, family });

/** Answers a connected socket, and lets go of all others. Ends with the signal. */
export async function connectAny(
  addresses: readonly HostAddress[],
  port: number,
  signal: AbortSignal,
  dial: Dial = dialDirectly,
): Promise<Socket> {
  signal.throwIfAborted();
  const waiting = inTurn(addresses);
  const under = new Set<Socket>();
  const failures: unknown[] = [];
  let timer: NodeJS.Timeout | undefined;
  let stop: (() => void) | undefined;
  try {
    return await new Promise<Socket>((resolve, reject) => {
      stop = () => reject(signal.reason);
      signal.addEventListener('abort', stop, { once: true });
      const next = (): void => {
        clearTimeout(timer);
        const address = waiting.shift();
        if (address === undefined) {
          if (under.size === 0) reject(failures[0]);
          return;
        }
        const socket = dial(address, port);
        under.add(socket);
        socket.once('connect', () => {
          under.delete(socket);
          // Until its new owner listens, an error without a listener would end the process.
          socket.removeAllListeners('error').on('error', () => {});
          resolve(socket);
        });
        socket.once('error', (error) => {
          under.delete(socket);
          failures.push(error);
          next();
        });
        timer = setTimeout(next, NEXT_MS);
      };
      next();
    });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop as () => void);
    for (const socket of under) {
      socket.on('error', () => {});
      socket.destroy();
    }
  }
}

/** Alternates the families, so that one that does not work costs one step. */
function inTurn(addresses: readonly HostAddress[]): HostAddress[] {
  const first = addresses[0]?.family;
  const mine = addresses.filter(({ family }) => family === first);
  const others = addresses.filter(({ family }) => family !== first);
  return mine.flatMap((each, index) => [each, ...others.slice(index, index + 1)]).concat(others.slice(mine.length));
}
