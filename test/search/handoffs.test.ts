import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openWriter } from '../../src/cli/output/open-writer.js';
import { createIndex } from '../../src/search/index.js';
import { describeNeeding } from '../support/needs.js';
import { entriesOf, pathOf, plainSearch, vectorOf } from './support/vectors.js';

const FOLDER = fileURLToPath(new URL('./handoffs/', import.meta.url));
const stores = {
  name: 'npm ci --ignore-scripts --prefix test/search/handoffs',
  isMet: () => existsSync(path.join(FOLDER, 'node_modules', '@lancedb')),
};

describeNeeding(stores)('an index is handed over', () => {
  const entries = entriesOf(0, 500, 24);
  const left = entries.filter((_, at) => at !== 7 && at !== 300);
  let root: string;
  let index: string;
  let parquet: string;

  beforeAll(async () => {
    root = await mkdtemp(path.join(tmpdir(), 'millrace-handoffs-'));
    index = path.join(root, "a 'photos'.idx");
    const made = await createIndex(index, { dimension: 24 });
    await made.add(entries);
    await made.add([{ path: '/photos/bad.jpg', error: { code: 'ERR_IMAGE_CORRUPT', message: 'cut off' } }]);
    await made.remove([pathOf(7), pathOf(300)]);
    await made.close();
    parquet = path.join(root, "a 'photos'.parquet");
    const writer = await openWriter(parquet, new PassThrough());
    for (const { path: file, vector } of left) await writer.write({ path: file, embedding: vector });
    await writer.write({ path: '/photos/bad.jpg', error: { code: 'ERR_IMAGE_CORRUPT', message: 'cut off' } });
    await writer.close();
  });

  afterAll(async () => {
    await rm(root, { recursive: true, force: true });
  });

  const handOver = (name: string, script: string, source: () => string): void => {
    test(`to ${name}, which finds what a search finds`, async () => {
      const scratch = path.join(root, script);
      await mkdir(scratch);
      for (const seed of [7, 1_000]) {
        const query = vectorOf(seed, 24);
        const args = [
          path.join(FOLDER, script),
          source(),
          path.join(scratch, String(seed)),
          JSON.stringify([...query]),
        ];
        await mkdir(args[2] as string);
        const { stdout } = await promisify(execFile)(process.execPath, args);
        const found = JSON.parse(stdout) as [string, number][];
        const expected = plainSearch(left, query, 5);
        expect(found.map(([file]) => file)).toEqual(expected.map((hit) => hit.path));
        for (const [at, [, score]] of found.entries()) expect(score).toBeCloseTo(expected[at]?.score as number, 5);
      }
    }, 60_000);
  };

  handOver('DuckDB, as the Parquet file of embed', 'duckdb.mjs', () => parquet);
  handOver('Postgres with pgvector (PGlite)', 'pglite.mjs', () => index);
  handOver('SQLite with sqlite-vec', 'sqlite-vec.mjs', () => index);
  handOver('LanceDB', 'lancedb.mjs', () => index);
});
