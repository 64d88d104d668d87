import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { descendants, isAlive } from '../support/process-tree.js';
import { tempFolder } from '../support/temp-folder.js';
import { until } from '../support/until.js';
import { PHOTOS, type Running, runCli, startCli } from './cli-process.js';

const at = tempFolder('serve');
const started: Running[] = [];

afterEach(async () => {
  for (const { child, ended } of started.splice(0)) {
    child.kill('SIGKILL');
    await ended;
  }
});

/** Starts the command at a free port, and waits until it listens. */
async function serve(...args: readonly string[]): Promise<Running & { readonly url: string }> {
  const running = startCli(['serve', '--port', '0', ...args]);
  started.push(running);
  const url = await until('the address', () => /http:\/\/[\d.]+:\d+/.exec(running.said())?.[0]);
  return { ...running, url };
}

async function picture(name = 'cat-1'): Promise<string> {
  return `data:image/jpeg;base64,${await readFile(path.join(PHOTOS, `${name}.jpg`), 'base64')}`;
}

async function embed(url: string, input: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return await fetch(`${url}/v1/embeddings`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ input }),
  });
}

const ready = (url: string): Promise<unknown> =>
  until('the model', async () => ((await (await fetch(`${url}/health`)).json()) as { ready: boolean }).ready);

describe('millrace serve', () => {
  test('says where it is, prints one line for each request, and exits with 0 on SIGTERM', async () => {
    const { url, child, ended } = await serve();
    const answer = await embed(url, await picture());
    expect(answer.status).toBe(200);
    expect((await embed(url, 'data:image/png;base64,AAAA')).status).toBe(400);
    child.kill('SIGTERM');
    const { code, signal, stdout, stderr } = await ended;
    expect([code, signal]).toEqual([0, null]);
    expect(stderr).toContain(`serving default at ${url}\n  OpenAI clients: baseURL ${url}/v1\n`);
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatch(
      new RegExp(`^\\d{4}-\\S+Z POST /v1/embeddings 200 [\\d.]+ ms - ${answer.headers.get('x-request-id')}$`),
    );
    expect(lines[1]).toMatch(/ POST \/v1\/embeddings 400 [\d.]+ ms image_unsupported \S+$/);
  });

  test('answers every request that it has accepted when it is asked to end under load', async () => {
    const { url, child, ended } = await serve('--quiet', '--workers', '1');
    await ready(url);
    const batch = await Promise.all(['cat-1', 'cat-2', 'rocket-1', 'rocket-2'].map(picture));
    const input = Array.from({ length: 16 }, (_, index) => batch[index % 4]);
    const answers = Array.from({ length: 4 }, () => embed(url, input));
    await until('all requests', async () =>
      /^millrace_serve_images_accepted_total 64$/m.test(await (await fetch(`${url}/metrics`)).text()),
    );
    child.kill('SIGTERM');
    for (const answer of await Promise.all(answers)) {
      expect(answer.status).toBe(200);
      expect(((await answer.json()) as { data: unknown[] }).data).toHaveLength(16);
    }
    const { code, stdout } = await ended;
    expect([code, stdout]).toEqual([0, '']);
  });

  test('leaves no worker behind when it is killed', async () => {
    const { url, child, pid, ended } = await serve();
    await ready(url);
    expect((await embed(url, await picture())).status).toBe(200);
    const children = descendants(pid);
    expect(children.length).toBeGreaterThan(0);
    child.kill('SIGKILL');
    await ended;
    await until('the end of the workers', () => !children.some(isAlive));
  });

  test('serves several models by names and aliases, and asks for the keys of a file', async () => {
    await writeFile(at('keys'), '# of the team\nfirst-secret\n\nsecond-secret\n');
    const { url } = await serve(
      ...['--model', 'one=default', '--model', 'two=default', '--alias', 'clip=two', '--api-key-file', at('keys')],
    );
    expect((await embed(url, 'cat')).status).toBe(401);
    expect((await embed(url, 'cat', { authorization: 'Bearer third-secret' })).status).toBe(401);
    const headers = { authorization: 'Bearer second-secret' };
    const { data } = (await (await fetch(`${url}/v1/models`, { headers })).json()) as { data: { id: string }[] };
    expect(data.map(({ id }) => id)).toEqual(['one', 'two', 'clip']);
    const answer = await fetch(`${url}/v1/embeddings`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'clip', input: await picture() }),
    });
    expect((await answer.json()) as unknown).toMatchObject({ model: 'two' });
  });

  test('serves nothing where an option, the model, the keys or the port cannot be used', async () => {
    await writeFile(at('no keys'), '# none yet\n');
    const { url } = await serve();
    const cases = [
      [['--model', 'nosuch', '--port', '0'], 'ERR_MODEL_NOT_FOUND'],
      [['--alias', 'clip=nosuch', '--port', '0'], "must be one of 'default'"],
      [['--alias', 'clip', '--port', '0'], '--alias must be alias=name'],
      [['--api-key-file', at('no keys'), '--port', '0'], 'has none'],
      [['--api-key-file', at('absent'), '--port', '0'], 'ENOENT'],
      [['--port', new URL(url).port], 'another program listens there'],
      [['--host', '203.0.113.1', '--port', '0'], 'no address of this machine'],
      [['--immich-fallback', 'file:///etc/passwd', '--port', '0'], 'must be a URL of http or https'],
    ] as const;
    for (const [args, message] of cases) {
      const { code, stderr } = await runCli(['serve', ...args]);
      expect([code, stderr], args.join(' ')).toEqual([2, expect.stringContaining(message)]);
    }
  });
});
