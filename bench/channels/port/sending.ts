import { once } from 'node:events';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { type Outcome, stopwatch } from '../../harness/scenario.js';

/** Values that are sent before the event loop turns, and the capacity of the channel. */
export const BATCH = 1_024;

let thread: Worker | undefined;

/** Sends `n` numbers through a new port to the receiving thread of this process, and waits until it has them all. */
export async function sendToThread(
  kind: string,
  n: number,
  send: (port: MessagePort) => Promise<void>,
): Promise<Outcome> {
  // From the root of the repository: `npm run` starts there, and the bundle lies elsewhere.
  thread ??= new Worker(path.resolve('bench/channels/port/consumer.mjs'), {
    workerData: { kind, entry: pathToFileURL(path.resolve('dist/channels/port/index.js')).href },
    execArgv: [],
  });
  const { port1, port2 } = new MessageChannel();
  thread.postMessage({ n, port: port2 }, [port2]);
  await once(thread, 'message');
  const elapsed = stopwatch();
  const received = once(thread, 'message') as Promise<[Outcome]>;
  await send(port1);
  const [{ count, sum }] = await received;
  const times = elapsed();
  port1.close();
  return { count, sum: sum as number, ...times };
}
