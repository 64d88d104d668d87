/**
 * Embeds image files with a pool of worker processes, with a progress line and an error per image. Ctrl-C finishes the running images
 * and ends.
 *
 *     npm run example examples/image-pool.ts examples/photos/*.jpg
 *
 * In a project that has millrace, onnxruntime-node and sharp: `npx tsx image-pool.ts <files>`.
 */
import { createImageEmbeddingPool } from 'millrace/image-embedding';
import { closeOnSignal } from 'millrace/pool';

const paths = process.argv.slice(2);
if (paths.length === 0) {
  console.error('usage: image-pool.ts <files>');
  process.exit(2);
}

const pool = createImageEmbeddingPool({ workers: { max: 2 }, timeoutMs: 60_000 });
closeOnSignal(pool);
try {
  let failed = 0;
  // Reads the list no faster than the workers take it: a million paths use no more memory than a hundred.
  for await (const { index, input, embedding, error } of pool.embedImages(paths)) {
    const position = `${String(index + 1).padStart(String(paths.length).length)}/${paths.length}`;
    if (error === undefined) {
      const start = Array.from(embedding.subarray(0, 4), (value) => value.toFixed(3)).join(' ');
      console.log(`${position} ${input}: ${embedding.length} numbers: ${start} ...`);
    } else {
      failed += 1;
      console.error(`${position} ${input}: ${(error as { code?: string }).code ?? error.name}: ${error.message}`);
    }
  }
  if (failed > 0) process.exitCode = 1;
} catch (error) {
  // The model, the pool or the machine failed, and not one image: no further image can be embedded.
  console.error(`Cannot embed: ${(error as Error).message}`);
  process.exitCode = 1;
} finally {
  await pool.close();
}
