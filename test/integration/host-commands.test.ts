import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  createImageEmbeddingPool,
  createRemoteImageEmbeddingPool,
  similarity,
} from '../../src/image-embedding/index.js';
import { connectNats } from '../../src/nats/index.js';
import { NatsServer, natsServer } from '../support/nats-server.js';
import { describeNeeding } from '../support/needs.js';
import { until } from '../support/until.js';
import { PHOTOS, type Running, runCli, startCli } from './cli-process.js';

describeNeeding(natsServer)('millrace host', () => {
  let server: NatsServer;
  const running: Running[] = [];
  beforeAll(async () => {
    server = await NatsServer.start();
  });
  afterAll(async () => {
    for (const { child } of running) child.kill('SIGKILL');
    await server?.stop();
  });
  const start = async (name: string, ...more: string[]): Promise<Running> => {
    const host = startCli(['host', '--name', name, '--workers', '1', '--server', server.url, ...more]);
    running.push(host);
    await until(`${name} serves`, () => host.said().includes(`as ${name}: `), 30_000);
    return host;
  };

  test('two hosts embed what a pool here embeds; one that is asked to end loses no call', async () => {
    const [first, second] = [await start('one'), await start('two')];
    const listed = await runCli(['hosts', '--server', server.url]);
    expect(listed.code).toBe(0);
    expect(listed.stdout).toMatch(/^one +ready.*\n^two +ready/m);
    const hosts = JSON.parse((await runCli(['hosts', '--json', '--server', server.url])).stdout) as { name: string }[];
    expect(hosts.map(({ name }) => name)).toEqual(['one', 'two']);

    const nats = await connectNats({ servers: server.url });
    await using remote = createRemoteImageEmbeddingPool({ bus: nats, service: 'images' });
    await using local = createImageEmbeddingPool({ workers: { max: 1 } });
    const photo = path.join(PHOTOS, 'cat-1.jpg');
    expect(similarity(await remote.embedImage(photo), await local.embedImage(photo))).toBeGreaterThan(0.9999);
    await expect(remote.embedImageUrl('http://127.0.0.1:1/a.jpg')).rejects.toMatchObject({ code: 'ERR_NOT_SERVED' });
    const photos = ['cat-1.jpg', 'clock.jpg', 'coffee-1.jpg'].map((name) => path.join(PHOTOS, name));
    const all = Array.from({ length: 60 }, (_, at) => remote.embedImage(photos[at % 3] as string));
    first.child.kill('SIGTERM');
    expect((await Promise.all(all)).every(({ length }) => length === 256)).toBe(true);
    const ended = await first.ended;
    expect(ended.code).toBe(0);
    const [, accepted, answered] = /(\d+) calls accepted, (\d+) answered/.exec(ended.stderr) ?? [];
    expect(answered).toBe(accepted);
    await nats.close();
    second.child.kill('SIGTERM');
    expect((await second.ended).code).toBe(0);
    const none = await runCli(['hosts', '--wait', '300', '--server', server.url]);
    expect(none).toMatchObject({ code: 1, stderr: 'no host of images has answered within 300 ms\n' });
  }, 90_000);

  test('says in one line what is wrong', async () => {
    const alone = await runCli(['host', '--server', 'nats://127.0.0.1:1']);
    expect([alone.code, alone.stderr]).toEqual([2, expect.stringMatching(/^millrace: ERR_NATS_CONNECTION: .*\n$/)]);
    const model = await runCli(['host', '--model', '/no/such/model', '--server', server.url]);
    expect([model.code, model.stderr]).toEqual([2, expect.stringMatching(/^millrace: ERR_MODEL_NOT_FOUND: .*\n$/)]);
    const name = await runCli(['host', '--name', 'a b', '--server', server.url]);
    expect([name.code, name.stderr]).toEqual([
      2,
      expect.stringMatching(/^millrace: Cannot serve pool: name must .*\n$/),
    ]);
    const service = await runCli(['hosts', '--service', 'a.b', '--server', server.url]);
    expect([service.code, service.stderr]).toEqual([
      2,
      expect.stringMatching(/^millrace: Cannot .*service must .*\n$/),
    ]);
  }, 60_000);
});
