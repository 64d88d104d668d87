import { readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { NatsServer, natsServer } from '../support/nats-server.js';
import { describeNeeding } from '../support/needs.js';
import { tempFolder } from '../support/temp-folder.js';
import { until } from '../support/until.js';
import { type Ended, PHOTOS, runCli, startCli } from './cli-process.js';

describeNeeding(natsServer)('millrace bulk', () => {
  const folder = tempFolder('bulk commands');
  let server: NatsServer;
  beforeAll(async () => {
    server = await NatsServer.start();
  });
  afterAll(() => server?.stop());

  const bulk = (...args: string[]): Promise<Ended> => runCli(['bulk', ...args, '--server', server.url]);

  test('gives what embed gives, byte for byte, in each format, with the errors of a damaged and a missing file', async () => {
    const broken = folder('broken.jpg');
    await writeFile(broken, 'no picture');
    const inputs = [PHOTOS, broken, folder('missing.jpg')];
    expect(await bulk('submit', ...inputs, '--id', 'spring')).toMatchObject({ code: 0 });
    const early = await bulk('results', 'spring', '-o', folder('early.jsonl'));
    expect(early.code).toBe(1);
    expect(early.stderr).toMatch(/1 of 24 jobs of run spring are done/);

    const worked = await bulk('worker', '--until-done', '--workers', '2');
    expect(worked.code).toBe(1);
    expect(worked.stderr).toMatch(/22 embedded, 1 failed, 0 dead/);
    for (const format of ['jsonl', 'npy', 'parquet']) {
      const [ours, theirs] = [folder(`bulk.${format}`), folder(`embed.${format}`)];
      expect((await bulk('results', 'spring', '-o', ours)).code).toBe(1);
      expect((await runCli(['embed', ...inputs, '-o', theirs])).code).toBe(1);
      expect((await readFile(ours)).equals(await readFile(theirs)), format).toBe(true);
    }

    const status = await bulk('status', 'spring', '--json');
    expect(JSON.parse(status.stdout)).toMatchObject({
      state: 'complete',
      submitted: 24,
      succeeded: 22,
      failed: 2,
      waiting: 0,
    });
    expect((await bulk('submit', ...inputs, '--id', 'spring')).stderr).toMatch(/24 were there before/);
    const changed = await bulk('submit', PHOTOS, '--id', 'spring');
    expect(changed.code).toBe(2);
    expect(changed.stderr).toMatch(/Cannot submit run 'spring' again: it has 24 inputs, this list has 22/);
    expect((await bulk('rm', 'spring')).code).toBe(0);
    expect((await bulk('status')).stdout).toMatch(/has no runs/);
  }, 180_000);

  test('a worker that is stopped gives back what it has not begun, and another one does the rest', async () => {
    expect((await bulk('submit', PHOTOS, '--id', 'handed-on')).code).toBe(0);
    const first = startCli(['bulk', 'worker', '--workers', '1', '--server', server.url]);
    await until('a result', async () => /[1-9]\d* succeeded/.test((await bulk('status', 'handed-on')).stdout));
    first.child.kill('SIGTERM');
    expect((await first.ended).code).toBe(0);
    expect((await bulk('worker', '--until-done')).code).toBe(0);
    const results = await bulk('results', 'handed-on', '-o', folder('handed-on.jsonl'));
    expect(results).toMatchObject({ code: 0 });
    expect((await readFile(folder('handed-on.jsonl'), 'utf8')).trim().split('\n')).toHaveLength(22);
  }, 180_000);

  test('paths are opened only below the folders that a worker shares', async () => {
    const outside = folder('outside.jpg');
    await writeFile(outside, await readFile(`${PHOTOS}/clock.jpg`));
    const inputs = [`${PHOTOS}/clock.jpg`, outside];
    expect((await bulk('submit', ...inputs, '--id', 'closed', '--shared-paths')).code).toBe(0);
    expect((await bulk('worker', 'closed', '--until-done')).stderr).toMatch(/ERR_NOT_SERVED/);
    expect((await bulk('submit', ...inputs, '--id', 'open', '--shared-paths')).code).toBe(0);
    const worked = await bulk('worker', 'open', '--until-done', '--root', PHOTOS);
    expect(worked.stderr).toMatch(/ERR_IMAGE_FORBIDDEN/);
    expect(worked.stderr).toMatch(/1 embedded, 1 failed, 0 dead/);
  }, 180_000);

  test('without a server one sentence says so', async () => {
    const { code, stderr } = await runCli(['bulk', 'status', '--server', 'nats://127.0.0.1:1']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^millrace: ERR_NATS_CONNECTION: Cannot connect to NATS at nats:\/\/127\.0\.0\.1:1: .*\n$/);
  });

  test('without JetStream one sentence says so', async () => {
    const plain = await NatsServer.start({ hasJetStream: false });
    try {
      const { code, stderr } = await runCli(['bulk', 'status', '--server', plain.url]);
      expect(code).toBe(2);
      expect(stderr).toMatch(/has no JetStream, start it with -js/);
    } finally {
      await plain.stop();
    }
  });
});
