import { expect, test } from 'vitest';
import { oneImage, outsideEffects, photo } from './outside-effects.js';

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
