/** The search page in Chromium, as Debian packages it. */
import { copyFile, mkdir, mkdtemp, readdir, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { PHOTOS, type Running, runCli, startCli } from '../../integration/cli-process.js';
import { describeNeeding, program } from '../../support/needs.js';
import { until } from '../../support/until.js';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

describeNeeding(program('chromium'))('millrace serve --index in a browser', () => {
  let root: string;
  let browser: Browser;
  let running: Running;
  let page: Page;
  const said: string[] = [];

  beforeAll(async () => {
    root = await realpath(await mkdtemp(path.join(tmpdir(), 'millrace-search-browser-')));
    await mkdir(path.join(root, 'photos'));
    for (const name of await readdir(PHOTOS)) {
      if (name.endsWith('.jpg')) await copyFile(path.join(PHOTOS, name), path.join(root, 'photos', name));
    }
    expect((await runCli(['index', 'photos'], { cwd: root })).code).toBe(0);
    running = startCli(['serve', '--index', 'millrace.idx', '--port', '0'], { cwd: root });
    const url = await until('the search page is served', () => /search: +(\S+)/.exec(running.said())?.[1], 30_000);
    browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
    page = await browser.newPage({ viewport: { width: 1_280, height: 900 } });
    page.on('console', (message) => said.push(`${message.type()}: ${message.text()}`));
    page.on('pageerror', (error) => said.push(String(error)));
    await page.goto(url);
  });

  afterAll(async () => {
    await browser?.close();
    if (running !== undefined) {
      process.kill(running.pid, 'SIGTERM');
      await running.ended;
    }
    await rm(root, { recursive: true, force: true });
  });

  const names = async (): Promise<string[]> => await page.locator('#hits .name').allInnerTexts();
  const search = async (words: string): Promise<void> => {
    await page.locator('#words').fill(words);
    await page.locator('#search button').click();
  };
  /** Until the first two are a pair. */
  const pair = async (name: string): Promise<void> => {
    await until(`the ${name}s are first`, async () => {
      const [one, two] = await names();
      return [one, two].sort().join() === `${name}-1.jpg,${name}-2.jpg`;
    });
  };

  test('words, a dropped picture, more like one and less like another find what they should', async () => {
    await search('cat');
    await pair('cat');
    await until('a thumbnail is shown', async () =>
      Number(await page.locator('#hits img').first().evaluate('(image) => image.naturalWidth')),
    );
    await search('beach');
    await page.locator('#status', { hasText: "'beach' is no word" }).waitFor();
    expect(said.splice(0)).toEqual([expect.stringMatching(/400/)]);

    await search('');
    const bytes = [...(await readFile(path.join(PHOTOS, 'rocket-1.jpg')))];
    await page.evaluate(
      `(() => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(${JSON.stringify(bytes)})], 'mine.jpg', { type: 'image/jpeg' }));
        for (const type of ['dragover', 'drop'])
          document.body.dispatchEvent(new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer: transfer }));
      })()`,
    );
    await pair('rocket');
    expect(await page.locator('#drop').isHidden()).toBe(true);
    await page.locator('#terms button', { hasText: '×' }).click();
    await until('nothing is asked for', async () => (await names()).length === 0);

    await search('cat');
    await pair('cat');
    await page.locator('#hits li', { hasText: 'coffee-1.jpg' }).locator('button', { hasText: 'More' }).click();
    await pair('coffee');
    await page.locator('#hits li', { hasText: 'coffee-2.jpg' }).locator('button', { hasText: 'Less' }).click();
    await until('it has gone down', async () => (await names()).indexOf('coffee-2.jpg') > 5);
    expect(await page.locator('#terms li').count()).toBe(2);
    expect(said).toEqual([]);
  });

  test('it opens originals, and fits 360 pixels', async () => {
    const href = await page.locator('#hits a').first().getAttribute('href');
    const response = await page.request.get(new URL(href as string, page.url()).href);
    expect([response.status(), response.headers()['content-type']]).toEqual([200, 'image/jpeg']);
    await page.setViewportSize({ width: 360, height: 700 });
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360);
    expect(said).toEqual([]);
  });
});
