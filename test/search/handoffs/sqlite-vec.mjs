/** SQLite with sqlite-vec. */
import path from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import { getLoadablePath } from '@photostructure/sqlite-vec';
import { argumentsOf, print, readIndex } from './read-index.mjs';

const { source, scratch, query } = argumentsOf();
const database = new DatabaseSync(path.join(scratch, 'photos.sqlite'), { allowExtension: true });
database.enableLoadExtension(true);
database.loadExtension(getLoadablePath());
database.exec(
  `create virtual table photos using vec0(embedding float[${query.length}] distance_metric=cosine, +path text)`,
);
const bytes = (numbers) => new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
const insert = database.prepare('insert into photos (embedding, path) values (?, ?)');
for (const { path: file, vector } of await readIndex(source)) insert.run(bytes(vector), file);
const find = database.prepare('select path, distance from photos where embedding match ? order by distance limit 5');
print(find.all(bytes(query)).map(({ path: file, distance }) => [file, 1 - distance]));
database.close();
