import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test, vi } from 'vitest';
import { runCli } from './cli-process.js';

// A start of the command and of a worker, on a machine that may be busy.
vi.setConfig({ testTimeout: 60_000 });

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

test('millrace doctor needs no folder for temporary files, and names the versions of what it finds', async () => {
  const { stdout, code } = await runCli(['doctor'], { env: { TMPDIR: '/nonexistent' } });
  expect(stdout).toContain('a picture became 256 numbers');
  expect(stdout).toMatch(/^ok {2}onnxruntime-node +\d+\.\d+\.\d+$/m);
  expect(stdout).toMatch(/^ok {2}sharp +\d+\.\d+\.\d+$/m);
  expect(code).toBe(0);
});

test.for([
  ['bun', '1.4.5', /^NO {2}Bun +1\.4\.5 on .*, as Node .*\n +→ run it with Node/m],
  ['deno', '2.9.6', /^ok {2}Deno +2\.9\.6 on .*, as Node /m],
] as const)('millrace doctor names the runtime that it is run by: %s', async ([name, version, line]) => {
  const disguise = `Object.defineProperty(process.versions, '${name}', { value: '${version}' })`;
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(disguise)}` };
  expect((await runCli(['doctor'], { env })).stdout).toMatch(line);
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
