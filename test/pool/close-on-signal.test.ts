import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, get } from 'node:http';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { linux, pidNamespaces, posix, testNeeding } from '../support/needs.js';
import { descendants } from '../support/process-tree.js';

const fixture = fileURLToPath(new URL('./fixtures/closing.mjs', import.meta.url));

interface Scene {
  readonly child: ChildProcess;
  readonly lines: string[];
  /** Resolves with the first line that begins so. */
  line(start: string): Promise<string>;
  readonly ended: Promise<{ code: number | null; signal: string | null; stderr: string }>;
}

/** Starts a scene of the fixture; `through` is a program that starts it, such as `unshare`. */
function start(args: readonly string[], through: readonly string[] = []): Scene {
  const [program, ...rest] = [...through, process.execPath, fixture, ...args] as [string, ...string[]];
  const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
  const lines: string[] = [];
  const reader = createInterface(child.stdout as NodeJS.ReadableStream);
  reader.on('line', (line) => lines.push(line));
  let stderr = '';
  child.stderr?.on('data', (text) => {
    stderr += text;
  });
  return {
    child,
    lines,
    async line(start) {
      for (;;) {
        const found = lines.find((each) => each.startsWith(start));
        if (found !== undefined) return found;
        await once(reader, 'line');
      }
    },
    ended: once(child, 'close').then(([code, signal]) => ({ code, signal, stderr })),
  };
}

/** Asks the scene's server, over a connection that the client would keep, and has the process told to end once the request is there. */
async function askDuring(scene: Scene, tell: () => void): Promise<string> {
  const port = Number((await scene.line('port')).slice(5));
  const agent = new Agent({ keepAlive: true });
  const answer = new Promise<string>((resolve, reject) => {
    get({ port, host: '127.0.0.1', agent }, (response) => {
      response.setEncoding('utf8').on('data', resolve);
    }).on('error', reject);
  });
  answer.catch(() => {});
  await scene.line('asked');
  tell();
  return answer;
}

const closeDuringRequest = (scene: Scene): Promise<string> => askDuring(scene, () => scene.child.kill('SIGTERM'));

test.concurrent('closeOnSignal() closes what it is given in order, and tells functions the signal', async () => {
  const scene = start(['order']);
  await scene.line('port');
  scene.child.kill('SIGTERM');
  expect(await scene.ended).toEqual({ code: null, signal: 'SIGTERM', stderr: '' });
  expect(scene.lines.slice(1)).toEqual([
    'closed function',
    'closed disposable',
    'closed object',
    'closed pool',
    'closed all on SIGTERM',
  ]);
});

test.concurrent('closeOnSignal() with a server first answers the request in flight from the pool, and drops the kept connection', async () => {
  const scene = start(['server']);
  expect(await closeDuringRequest(scene)).toBe('yes');
  expect(await scene.ended).toEqual({ code: null, signal: 'SIGTERM', stderr: '' });
});

test.concurrent.for(['grace before', 'grace after'])(
  'closeOnSignal() is no second signal for a handler that takes one for "quit": %s',
  async (what) => {
    const scene = start([what]);
    expect(await closeDuringRequest(scene)).toBe('yes');
    expect(await scene.ended).toEqual({ code: 0, signal: null, stderr: '' });
    expect(scene.lines.at(-1)).toBe('closed cleanly');
  },
);

test.concurrent('closeOnSignal() leaves a handler that is called once the time to finish', async () => {
  const scene = start(['once']);
  expect(await closeDuringRequest(scene)).toBe('yes');
  expect(await scene.ended).toEqual({ code: 0, signal: null, stderr: '' });
  expect(scene.lines.at(-1)).toBe('done');
});

test.concurrent('closeOnSignal() calls a listener beside it once, and leaves the end of the process to it', async () => {
  const scene = start(['listener']);
  expect(await closeDuringRequest(scene)).toBe('yes');
  expect(await scene.ended).toEqual({ code: 0, signal: null, stderr: '' });
  expect(scene.lines.filter((line) => !/port|asked/.test(line))).toEqual(['heard 1', 'closed all']);
});

test.concurrent('closeOnSignal() ends at once at a second signal, whatever a closer is doing', async () => {
  const scene = start(['a closer that hangs']);
  await scene.line('port');
  scene.child.kill('SIGTERM');
  await scene.line('hanging');
  scene.child.kill('SIGTERM');
  expect(await scene.ended).toEqual({ code: null, signal: 'SIGTERM', stderr: '' });
});

test.concurrent('closeOnSignal() goes on to the next closer when one takes too long', async () => {
  const scene = start(['a closer that hangs for its time']);
  await scene.line('port');
  scene.child.kill('SIGTERM');
  expect(await scene.ended).toEqual({ code: null, signal: 'SIGTERM', stderr: '' });
  expect(scene.lines.at(-1)).toBe('closed all');
});

test.concurrent('closeOnSignal() closes what is left when a closer fails, and warns of it', async () => {
  const scene = start(['a closer that fails']);
  expect(await closeDuringRequest(scene)).toBe('yes');
  const { signal, stderr } = await scene.ended;
  expect(signal).toBe('SIGTERM');
  expect(stderr.match(/Cannot close on SIGTERM: Error: no such log/g)).toHaveLength(2);
  expect(scene.lines.at(-1)).toBe('closed all');
});

test.concurrent('closeOnSignal() has one listener for any number of registrations', async () => {
  const scene = start(['many']);
  expect(await scene.line('listeners')).toBe('listeners 1 1');
  await scene.line('port');
  scene.child.kill('SIGTERM');
  expect(await scene.ended).toEqual({ code: null, signal: 'SIGTERM', stderr: '' });
  expect(scene.lines).not.toContain('closed 0');
  expect(scene.lines).toEqual(expect.arrayContaining(['closed 1', 'closed 11', 'closed a late one']));
});

const inPidNamespace = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'];

for (const [signal, code] of [
  ['SIGTERM', 143],
  ['SIGINT', 130],
] as const) {
  testNeeding(
    linux,
    posix,
    pidNamespaces,
  )(
    `closeOnSignal() ends the first process of a container on ${signal} with the code ${code}, its request answered`,
    async () => {
      const scene = start(['server', signal], inPidNamespace);
      const tell = () => process.kill(descendants(scene.child.pid as number)[0] as number, signal);
      expect(await askDuring(scene, tell)).toBe('yes');
      expect(await scene.ended).toEqual({ code, signal: null, stderr: '' });
    },
  );
}
