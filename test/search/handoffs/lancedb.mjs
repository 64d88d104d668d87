/** LanceDB. */
import { connect } from '@lancedb/lancedb';
import { argumentsOf, print, readIndex } from './read-index.mjs';

const { source, scratch, query } = argumentsOf();
const database = await connect(scratch);
const pictures = await readIndex(source);
const table = await database.createTable(
  'photos',
  pictures.map(({ path, vector }) => ({ path, vector: [...vector] })),
);
const rows = await table.vectorSearch(query).distanceType('cosine').limit(5).toArray();
print(rows.map(({ path, _distance: distance }) => [path, 1 - distance]));
