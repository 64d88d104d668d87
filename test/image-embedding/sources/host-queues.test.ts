import { setImmediate as turn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { HostQueues } from '../../../src/image-embedding/sources/host-queues.js';

it('HostQueues.add() holds a host to its bound, and others not at all', async () => {
  const queues = new HostQueues(2);
  const begun: string[] = [];
  const ends: (() => void)[] = [];
  const hang = (url: string) => (): Promise<void> => {
    begun.push(url);
    return new Promise((resolve) => ends.push(resolve));
  };
  const urls = [
    ...['http://a.example/1', 'http://a.example/2', 'http://A.example:80/3'],
    ...['http://b.example/', 'http://192.0.2.1/', 'http://a.example:8080/', 'no URL', 'none either', 'nor this'],
  ];
  const all = urls.map((url) => queues.add(url, hang(url), { priority: 0 }));
  await turn();
  expect(begun).toEqual(urls.filter((url) => url !== 'http://A.example:80/3' && url !== 'nor this'));
  expect([queues.pending, queues.size]).toEqual([7, 2]);
  for (let index = 0; index < urls.length; index++) {
    ends[index]?.();
    await turn();
  }
  await Promise.all(all);
  expect([queues.pending, queues.size]).toEqual([0, 0]);
});

it('HostQueues.add() passes failures on, and gives up what waits when its signal aborts', async () => {
  const queues = new HostQueues(1);
  const error = new Error('no');
  await expect(queues.add('http://a.example/', () => Promise.reject(error), { priority: 0 })).rejects.toBe(error);
  let end = (): void => {};
  const first = queues.add('http://a.example/', () => new Promise<void>((resolve) => (end = resolve)), { priority: 0 });
  const controller = new AbortController();
  const second = queues.add('http://a.example/', async () => 1, { priority: 0, signal: controller.signal });
  controller.abort(new Error('enough'));
  await expect(second).rejects.toThrow('enough');
  end();
  await first;
  expect([queues.pending, queues.size]).toEqual([0, 0]);
});
