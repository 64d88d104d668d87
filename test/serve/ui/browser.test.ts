/** The dashboard in Chromium, as Debian packages it. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { createImageEmbeddingPool, type ImageEmbeddingPool } from '../../../src/image-embedding/index.js';
import { type ListenOptions, listen, type ServeServer } from '../../../src/serve/index.js';
import { describeNeeding, program } from '../../support/needs.js';
import { until } from '../../support/until.js';
import { dataUrl, photo, post } from '../support/serving.js';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const KEY = 'a-key-of-the-tests';
const photos = (name: string): string => `examples/photos/${name}.jpg`;

function onPath(name: string): string {
  const files = (process.env.PATH ?? '').split(path.delimiter).map((folder) => path.join(folder, name));
  return files.find((file) => existsSync(file)) as string;
}

describeNeeding(program('chromium'))('the dashboard in a browser', () => {
  let browser: Browser;
  let pool: ImageEmbeddingPool;
  let server: ServeServer;
  const open: { close(): Promise<void> }[] = [];

  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: onPath('chromium'), args: ['--no-sandbox'] });
    pool = createImageEmbeddingPool({ workers: { max: 1 } });
    server = await serve();
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map((each) => each.close()));
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close();
    await pool?.close();
  });

  const serve = (options: ListenOptions = {}): Promise<ServeServer> => listen(pool, { port: 0, ui: true, ...options });

  /** A page, and what its console says. */
  async function show(
    url: string,
    look: { readonly colorScheme?: 'light' | 'dark'; readonly width?: number } = {},
  ): Promise<{ readonly page: Page; readonly said: string[] }> {
    const viewport = { width: look.width ?? 1_200, height: 800 };
    const context = await browser.newContext({ colorScheme: look.colorScheme ?? 'light', viewport });
    open.push(context);
    const page = await context.newPage();
    const said: string[] = [];
    page.on('console', (message) => said.push(`${message.type()}: ${message.text()}`));
    page.on('pageerror', (error) => said.push(String(error)));
    await page.goto(`${url}/ui/`);
    return { page, said };
  }
  const text = async (page: Page, selector: string): Promise<string> => await page.locator(selector).innerText();
  const embed = async (name: string): Promise<unknown> =>
    await post(`${server.url}/v1/embeddings`, { model: 'default', input: dataUrl(await photo(name)) });

  test('its rows and figures move with what the pool does, and its console stays silent', async () => {
    const { page, said } = await show(server.url);
    await page.locator('#status', { hasText: 'healthy' }).waitFor();
    await embed('cat-1');
    const row = page.locator('#workers tbody tr');
    await row.filter({ hasText: 'ready' }).first().waitFor();
    // The cells: worker, model, state, process, memory, in flight, answered, age, restarts, last error.
    await until('an answered picture', async () => Number(await row.locator('td').nth(6).innerText()) >= 1);
    expect(Number(await row.locator('td').nth(4).innerText())).toBeGreaterThan(20);
    expect(await row.locator('td').nth(3).innerText()).toBe(String((await pool.workers())[0]?.pid));
    await until('times', async () => {
      const shown = await text(page, '.model .strip');
      return shown.match(/half within/g)?.length === 3;
    });
    expect(await text(page, '.model')).toMatch(/Batch sizes: \d+ runs, [\d.]+ images each on average/);

    // A rate, while it is looked at.
    let isOver = false;
    const asking = (async () => {
      while (!isOver) await embed('cat-2');
    })();
    await until('a rate', async () => /now [1-9]/.test(await text(page, '.model figcaption >> nth=0')));
    await until('a line', async () => (await page.locator('.model polyline').getAttribute('points'))?.includes(' '));
    isOver = true;
    await asking;

    await post(`${server.url}/v1/embeddings`, { model: 'default', input: 'data:image/jpeg;base64,AAAA' });
    await page.locator('#errors li', { hasText: 'image_unsupported' }).waitFor();
    await page.locator('#answers li', { hasText: 'failed' }).first().waitFor();
    expect(said).toEqual([]);
  });

  test('a worker that is killed is seen, with its successor beside its error', async () => {
    const { page, said } = await show(server.url);
    await embed('cat-1');
    const { pid } = (await pool.workers())[0] ?? {};
    await page.locator('#workers td', { hasText: String(pid) }).waitFor();
    const killedAt = performance.now();
    process.kill(pid as number, 'SIGKILL');
    await page.locator('#errors li', { hasText: 'ERR_WORKER_CRASHED' }).waitFor();
    const seenMs = performance.now() - killedAt;
    expect(seenMs).toBeLessThan(2_000);
    await embed('cat-1');
    const successor = page.locator('#workers tbody tr', { hasText: 'ERR_WORKER_CRASHED' });
    await successor.waitFor();
    expect(await successor.locator('td').nth(8).innerText()).toBe('1');
    expect(await successor.locator('td').nth(3).innerText()).not.toBe(String(pid));
    expect(said).toEqual([]);
  });

  test('a picture and a word are embedded, and compared with each other', async () => {
    const { page, said } = await show(server.url);
    await page.locator('#try-model option').first().waitFor({ state: 'attached' });
    await page.locator('#file').setInputFiles(photos('cat-1'));
    await page.locator('#result', { hasText: '256 values' }).waitFor();
    await page.locator('#file').setInputFiles(photos('cat-2'));
    await page.locator('#result', { hasText: 'cosine similarity to cat-1.jpg' }).waitFor();
    const cats = Number(/: (-?[\d.]+)/.exec(await text(page, '#result p >> nth=1'))?.[1]);
    await page.locator('#word').fill('tabby cat');
    await page.locator('#word-form button').click();
    await page.locator('#result', { hasText: 'cosine similarity to cat-2.jpg' }).waitFor();
    expect(cats).toBeGreaterThan(0.5);
    expect(said).toEqual([]);
  });

  test('it is light or dark as the system is, and fits 360 pixels', async () => {
    const ground = (page: Page): Promise<number> =>
      page.evaluate('Number(/\\d+/.exec(getComputedStyle(document.body).backgroundColor)[0])');
    const light = await show(server.url);
    const dark = await show(server.url, { colorScheme: 'dark', width: 360 });
    expect(await ground(light.page)).toBeGreaterThan(200);
    expect(await ground(dark.page)).toBeLessThan(50);
    await dark.page.locator('#workers tbody tr').first().waitFor();
    expect(await dark.page.evaluate('document.documentElement.scrollWidth')).toBe(360);
    // Nothing sticks out of its card, and nothing is cut.
    const wide = await dark.page.evaluate(
      "[...document.querySelectorAll('main *')].filter((each) => each.getBoundingClientRect().right > 360).map((each) => each.tagName)",
    );
    expect(wide).toEqual([]);
  });

  test('it finds a server again that was restarted', async () => {
    const first = await serve();
    const { page } = await show(first.url);
    await page.locator('#status', { hasText: 'healthy' }).waitFor();
    await first.close();
    await page.locator('#status', { hasText: 'connection lost' }).waitFor();
    const second = await serve({ port: first.port });
    await page.locator('#status', { hasText: 'healthy' }).waitFor();
    await second.close();
  });

  test('a server with keys asks for one, shows its state for it, and acts', async () => {
    const keyed = await serve({ apiKeys: [KEY] });
    const { page, said } = await show(keyed.url);
    await page.locator('#status', { hasText: 'needs a key' }).waitFor();
    expect(said).toEqual([]);
    await page.locator('#key').fill(KEY);
    await page.locator('#key-form button').click();
    await page.locator('#status', { hasText: 'healthy' }).waitFor();
    await page.locator('#actions button', { hasText: 'Restart' }).click();
    await page.locator('#acted', { hasText: 'done, 1 ended' }).waitFor();
    await page.locator('#file').setInputFiles(photos('cat-1'));
    await page.locator('#result', { hasText: '256 values' }).waitFor();
    expect(said).toEqual([]);
    // The browser's connection is open: the end of the server closes it.
    await keyed.close();
  });

  test('a server without keys has its buttons off', async () => {
    const { page } = await show(server.url);
    await page.locator('#actions-note', { hasText: 'Off: the server has no keys' }).waitFor();
    expect(await page.locator('#actions button:disabled').count()).toBe(3);
  });
});
