import { expect, test } from 'vitest';
import { linux, program, testNeeding } from '../support/needs.js';
import { command, oneImage, outsideEffects, photo } from './outside-effects.js';

const isOurs = (file: string): boolean => file.startsWith('.cache/millrace/');

test.for(['process', 'thread', 'inline', 'prepare'])(
  'the runtime keeps no device id in a new home: %s',
  async (host) => {
    const { files } = await outsideEffects([oneImage, host, photo]);
    expect(files.filter((file) => !isOurs(file))).toEqual([]);
    if (host === 'prepare') expect(files.length).toBeGreaterThan(0);
  },
);

test.runIf(process.platform === 'linux').for(['process', 'thread'])(
  "a user's own ORT_DISABLE_TELEMETRY wins: %s",
  async (host) => {
    const { files } = await outsideEffects([oneImage, host, photo], { env: { ORT_DISABLE_TELEMETRY: '0' } });
    // What a run leaves where nobody turns it off, so that the tests here would see it.
    expect(files).toContain('.cache/Microsoft/DeveloperTools/.onnxruntime/deviceid');
  },
);

testNeeding(linux, program('strace'))(
  'millrace demo opens no connection, and writes no file but its own',
  async () => {
    const { files, sockets, written } = await outsideEffects([command, 'demo'], { isTraced: true });
    expect(sockets).toEqual([]);
    expect(files).toEqual(['demo-out/embeddings.jsonl', 'demo-out/index.html']);
    const others = written.filter((file) => !/\/demo-out\/|^demo-out\/|^\/dev\/(null|tty)$|^\/proc\//.test(file));
    expect(others).toEqual([]);
  },
  60_000,
);
