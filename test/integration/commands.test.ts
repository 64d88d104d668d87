import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { runCli } from './cli-process.js';

test('millrace doctor finds this machine fit, and embeds a picture as proof', async () => {
  const ended = await runCli(['doctor']);
  const lines = ended.stdout.trimEnd().split('\n');
  expect(lines.filter((line) => !line.startsWith('ok '))).toEqual([]);
  expect(lines.map((line) => line.slice(4, 22).trim())).toEqual([
    'Node',
    'onnxruntime-node',
    'sharp',
    'cores',
    'memory',
    'model cache',
    'self-test',
  ]);
  expect(ended.stdout).toContain('a picture became 256 numbers');
  expect(ended.code).toBe(0);
});

test('millrace models lists the built-in models and those of the cache', async () => {
  const home = await mkdtemp(path.join(tmpdir(), 'millrace hub '));
  try {
    const snapshot = path.join(home, 'hub', 'models--owner--a-model', 'snapshots', '0123456789abcdef0123');
    await mkdir(path.join(snapshot, 'onnx'), { recursive: true });
    await writeFile(path.join(snapshot, 'onnx', 'model.onnx'), Buffer.alloc(1_200_000));
    const ended = await runCli(['models'], { env: { HF_HOME: home } });
    expect(ended.code).toBe(0);
    expect(ended.stdout).toMatch(/mobilenet-v1-0\.25 +built in +1\.9 MB +onnx\/model\.onnx/);
    expect(ended.stdout).toMatch(/owner\/a-model +0123456789ab +1\.2 MB +onnx\/model\.onnx/);
  } finally {
    await rm(home, { recursive: true, force: true });
  }
});
