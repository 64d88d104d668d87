/** SQLite with sqlite-vec: an exact scan, in C. */
import path from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import { getLoadablePath } from '@photostructure/sqlite-vec';
import type { Corpus } from '../vectors.js';

export function sqliteVec(folder: string, limit: number) {
  const file = path.join(folder, 'bench.sqlite');
  const open = () => {
    const database = new DatabaseSync(file, { allowExtension: true });
    database.enableLoadExtension(true);
    database.loadExtension(getLoadablePath());
    return database;
  };
  let reader: ReturnType<typeof open> | undefined;
  let find: { all(query: Uint8Array, limit: number): unknown[] } | undefined;
  return {
    async insert({ count, dimension, rows }: Corpus) {
      const database = open();
      database.exec(`create virtual table vectors using vec0(embedding float[${dimension}] distance_metric=cosine)`);
      const insert = database.prepare('insert into vectors(rowid, embedding) values (?, ?)');
      database.exec('begin');
      for (let row = 0; row < count; row++) {
        const vector = rows.subarray(row * dimension, (row + 1) * dimension);
        insert.run(BigInt(row + 1), new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength));
      }
      database.exec('commit');
      database.close();
    },
    async open() {
      reader = open();
      find = reader.prepare(
        'select rowid from vectors where embedding match ? order by distance limit ?',
      ) as typeof find;
    },
    async search(query: Float32Array) {
      const rows = find?.all(new Uint8Array(query.buffer), limit) as { rowid: number | bigint }[];
      return rows.map(({ rowid }) => Number(rowid) - 1);
    },
    async close() {
      reader?.close();
    },
  };
}
