/** One store in a process of its own: opening, searching, recall. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createIndex, openIndex } from 'millrace/search';
import { type Corpus, makeCorpus, plainTop } from './vectors.js';

export interface StoreReport {
  readonly store: string;
  readonly insertMs: number;
  readonly openMs: number;
  readonly p50: number;
  readonly p99: number;
  readonly recall: number;
  readonly rssMb: number;
}

const LIMIT = 10;
const CHECKED = 20;

interface Store {
  insert(corpus: Corpus): Promise<void>;
  /** Opens it anew, as another process would; the first answer counts. */
  open(): Promise<void>;
  search(query: Float32Array): Promise<number[]>;
  close(): Promise<void>;
}

/** Measures one store. */
export async function measure(
  name: string,
  count: number,
  dimension: number,
  queries: number,
  peer: string,
): Promise<StoreReport> {
  const corpus = makeCorpus(count, dimension, 2_000, queries);
  const folder = await mkdtemp(path.join(tmpdir(), 'millrace-bench-'));
  try {
    const store = await makeStore(name, folder, peer);
    let began = performance.now();
    await store.insert(corpus);
    const insertMs = performance.now() - began;
    began = performance.now();
    await store.open();
    await store.search(corpus.queries[0] as Float32Array);
    const openMs = performance.now() - began;
    const times: number[] = [];
    let hits = 0;
    for (const [at, query] of corpus.queries.entries()) {
      const start = performance.now();
      const found = await store.search(query);
      times.push(performance.now() - start);
      if (at >= CHECKED) continue;
      const expected = new Set(plainTop(corpus, query, LIMIT));
      hits += found.filter((row) => expected.has(row)).length;
    }
    times.sort((a, b) => a - b);
    const rssMb = process.memoryUsage().rss / 1e6;
    await store.close();
    const recall = hits / (LIMIT * Math.min(CHECKED, queries));
    return { store: name, insertMs, openMs, p50: at(times, 0.5), p99: at(times, 0.99), recall, rssMb };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function at(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] as number;
}

async function makeStore(name: string, folder: string, peer: string): Promise<Store> {
  switch (name) {
    case 'millrace float32':
      return flat(folder, 'float32');
    case 'millrace int8':
      return flat(folder, 'int8');
    case 'plain loop':
      return plain();
    default: {
      const { sqliteVec } = (await import(peer)) as {
        sqliteVec: (folder: string, limit: number) => Store;
      };
      return sqliteVec(folder, LIMIT);
    }
  }
}

function flat(folder: string, precision: 'float32' | 'int8'): Store {
  const place = path.join(folder, 'bench.idx');
  let index: Awaited<ReturnType<typeof openIndex>> | undefined;
  return {
    async insert({ count, dimension, rows }) {
      const writer = await createIndex(place, { dimension });
      for (let first = 0; first < count; first += 4_096) {
        const entries = Array.from({ length: Math.min(4_096, count - first) }, (_, at) => ({
          path: `/photos/2024/07/31/IMG_${String(first + at).padStart(8, '0')}.jpg`,
          size: 3_000_000 + at,
          mtime: 1_722_440_000_000 + at,
          hash: '0123456789abcdef0123456789abcdef',
          vector: rows.subarray((first + at) * dimension, (first + at + 1) * dimension),
        }));
        await writer.add(entries);
      }
      await writer.close();
    },
    async open() {
      index = await openIndex(place, { precision });
    },
    async search(query) {
      const found = (await index?.search(query, { limit: LIMIT })) ?? [];
      return found.map((hit) => Number(hit.path.slice(-12, -4)));
    },
    async close() {
      await index?.close();
    },
  };
}

function plain(): Store {
  let corpus: Corpus | undefined;
  return {
    async insert(given) {
      corpus = given;
    },
    async open() {},
    async search(query) {
      return plainTop(corpus as Corpus, query, LIMIT);
    },
    async close() {},
  };
}
