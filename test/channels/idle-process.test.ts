import { execFile } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const built = pathToFileURL(
  path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../dist/channels/index.js'),
).href;

/** Runs a module in a process of its own. @returns What it printed before it ended by itself. */
async function runToEnd(code: string): Promise<string> {
  const script = `import * as m from ${JSON.stringify(built)};\n${code}`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
    timeout: 15_000,
  });
  return stdout;
}

it('pending waits, an unfired token and an unref timer do not keep the process alive', async () => {
  const output = await runToEnd(`
    const [tx, rx] = m.mpsc.channel(1);
    const stop = new m.CancellationToken();
    rx.recv(); tx.closed(); stop.cancelled();
    m.select({ rx, stop, idle: m.sleep(60_000, { ref: false }), signal: new AbortController().signal });
    m.interval(60_000, { ref: false, startAt: 1e9 }).tick();
    m.sleep(60_000);
    const [config, configRx] = m.watch.channel(0);
    const [events, eventsRx] = m.broadcast.channel(1);
    configRx.changed(); eventsRx.recv(); config.closed(); events.closed();
    new m.Notify().notified().then(() => {}); new m.Semaphore(0).acquire();
    const set = new m.JoinSet(); set.spawn(() => new Promise(() => {})); set.joinNext();
    m.select({ configRx, eventsRx, set, permit: m.acquiring(new m.Semaphore(0)) });
    process.on('exit', () => console.log('ended'));
  `);
  expect(output).toBe('ended\n');
});

it('an awaited timer holds the process until it fires', async () => {
  expect(await runToEnd(`await m.sleep(30); console.log('fired');`)).toBe('fired\n');
});
