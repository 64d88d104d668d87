// The thread that receives: for each port that it is given, it counts and adds up what comes, until `n` values have come.
import { on } from 'node:events';
import { parentPort, workerData } from 'node:worker_threads';

const { kind, entry } = workerData;
const { bridge } = kind === 'millrace' ? await import(entry) : {};
const comlink = kind === 'comlink' ? await import('comlink') : undefined;
const { default: nodeEndpoint } = kind === 'comlink' ? await import('comlink/dist/esm/node-adapter.mjs') : {};

parentPort.on('message', ({ n, port }) => {
  let count = 0;
  let sum = 0;
  const add = (value) => {
    sum += value;
    return ++count === n;
  };
  const tell = () => parentPort.postMessage({ count, sum });
  receivers[kind](port, add, tell);
  parentPort.postMessage('ready');
});

const receivers = {
  raw(port, add, tell) {
    port.on('message', (value) => {
      if (add(value)) tell();
    });
  },
  async 'events.on'(port, add, tell) {
    for await (const [value] of on(port, 'message')) if (add(value)) break;
    tell();
  },
  comlink(port, add, tell) {
    comlink.expose({ take: (value) => void (add(value) && tell()) }, nodeEndpoint(port));
  },
  async millrace(port, add, tell) {
    await bridge(port).receiver(1_024).forEach(add);
    tell();
  },
};
