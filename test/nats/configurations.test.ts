import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { connect as connectClient } from '@nats-io/transport-node';
import { expect, test } from 'vitest';
import { connectNats } from '../../src/nats/index.js';
import { createPool } from '../../src/pool/index.js';
import { createRemotePool, servePool } from '../../src/remote/index.js';
import { operation } from '../../src/worker/index.js';
import { NatsServer, natsServer, natsServerBinary } from '../support/nats-server.js';
import { describeNeeding } from '../support/needs.js';

const folder = fileURLToPath(new URL('../../docs/operating/nats/', import.meta.url));
const textOf = (name: string): Promise<string> => readFile(path.join(folder, name), 'utf8');
/** Without what a test has of its own: address, port, store. */
const settingsOf = (text: string): string =>
  text.replace(/^(host|port): .*$/gm, '').replace(/^jetstream \{[^}]*\}$/gm, '');

describeNeeding(natsServer)('the server files in docs/operating/nats', () => {
  test.each(['one-server.conf', 'cluster.conf', 'rights.conf'])('the server takes %s as it is', async (name) => {
    const place = await mkdtemp(path.join(tmpdir(), 'millrace conf '));
    const file = path.join(place, name);
    await writeFile(file, (await textOf(name)).replaceAll('/var/lib/nats', place));
    const { stderr } = await promisify(execFile)(natsServerBinary() as string, ['-t', '-c', file]);
    expect(stderr).toContain('configuration file');
    await rm(place, { recursive: true });
  });

  test('calls and bulk runs go through one-server.conf', async () => {
    const server = await NatsServer.start({ config: settingsOf(await textOf('one-server.conf')) });
    const nats = await connectNats({ servers: server.url });
    expect(nats.maxPayload).toBe(1_048_576);
    await nats.close();
    await server.stop();
  });

  test('with the rights of rights.conf calls are answered; no caller reads what another gets, or poses as a host', async () => {
    const config = settingsOf(await textOf('rights.conf'));
    const server = await NatsServer.start({ config, hasJetStream: false });
    const as = (user: string) => connectNats({ servers: server.url, user, password: 'change-me' });
    const operations = { upper: operation<string, string>() };
    const there = createPool();
    there.register('upper', { operations, load: () => ({ upper: (text) => text.toUpperCase() }) });
    const [hostSide, callerSide] = [await as('host-1'), await as('web-1')];
    const host = await servePool(there, { bus: hostSide, service: 'images', operations: ['upper'], name: 'host-1' });
    const here = createRemotePool({ bus: callerSide, caller: 'web-1' });
    const model = here.connect('images', { operations });

    const seen: string[] = [];
    const refused: string[] = [];
    const stranger = await connectClient({ servers: server.url, user: 'web-2', pass: 'change-me' });
    void (async () => {
      for await (const status of stranger.status()) refused.push(JSON.stringify(status));
    })();
    for (const subject of ['millrace.images.to.web-1.>', 'millrace.images.host.>', '>']) {
      stranger.subscribe(subject, { callback: (_error, message) => void seen.push(message?.subject ?? 'refused') });
    }
    await stranger.flush();
    expect(await model.call('upper', 'secret', { timeoutMs: 10_000 })).toBe('SECRET');
    // To pose as a host, in its greeting or in an answer.
    stranger.publish('millrace.images.hello.host-1', new Uint8Array([1]));
    stranger.publish('millrace.images.to.web-1.x.y.z', new Uint8Array([1]));
    await stranger.flush();
    expect(await model.call('upper', 'again', { timeoutMs: 10_000 })).toBe('AGAIN');
    expect(seen.filter((subject) => subject !== 'refused')).toEqual([]);
    expect(refused.join()).toMatch(/permission/i);
    expect(host.stats().malformed).toBe(0);

    await stranger.close();
    await here.close();
    await host.close();
    await there.close();
    await callerSide.close();
    await hostSide.close();
    await server.stop();
  }, 30_000);
});
