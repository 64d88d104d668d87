import { parentPort } from 'node:worker_threads';

parentPort.on('message', ({ id, value, isMoved }) => {
  if (typeof value === 'number') parentPort.postMessage({ id, value: value + 1 });
  else parentPort.postMessage({ id, value }, isMoved ? [value.buffer] : []);
});
