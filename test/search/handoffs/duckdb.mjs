/** DuckDB's SQL over the Parquet file that `millrace embed` writes. */
import { DuckDBInstance } from '@duckdb/node-api';
import { argumentsOf, print } from './read-index.mjs';

const { source, query } = argumentsOf();
const database = await DuckDBInstance.create(':memory:');
const connection = await database.connect();
const type = `float[${query.length}]`;
const reader = await connection.runAndReadAll(
  `select path, array_cosine_similarity(embedding::${type}, [${[...query].join(', ')}]::${type}) as score
   from read_parquet('${source.replaceAll("'", "''")}')
   where embedding is not null order by score desc limit 5`,
);
print(reader.getRowObjects().map(({ path, score }) => [path, Number(score)]));
connection.closeSync();
