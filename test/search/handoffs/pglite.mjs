/** Postgres with pgvector, in this process. */
import { PGlite } from '@electric-sql/pglite';
import { vector } from '@electric-sql/pglite/vector';
import { argumentsOf, print, readIndex } from './read-index.mjs';

const { source, query } = argumentsOf();
const database = await PGlite.create({ extensions: { vector } });
await database.exec(`create extension vector; create table photos (path text, embedding vector(${query.length}))`);
for (const { path, vector: numbers } of await readIndex(source)) {
  await database.query('insert into photos values ($1, $2)', [path, JSON.stringify([...numbers])]);
}
const { rows } = await database.query(
  'select path, 1 - (embedding <=> $1) as score from photos order by embedding <=> $1 limit 5',
  [JSON.stringify([...query])],
);
print(rows.map(({ path, score }) => [path, Number(score)]));
await database.close();
