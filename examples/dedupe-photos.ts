/**
 * Finds copies of photographs in a library: re-encoded, resized or slightly cropped. Prints groups, largest file first, and deletes nothing.
 *
 *     npm run example examples/dedupe-photos.ts examples/photos
 *
 * In a project that has millrace, onnxruntime-node and sharp: `npx tsx dedupe-photos.ts <folder> [threshold]`. The threshold is a cosine: 1 is
 * the same picture, 0.96 (the default) allows another format and quality and a crop of a few per cent, less finds pictures that are merely alike.
 * Copies smaller than the model's input (224 pixels) score lower, down to 0.9.
 */
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { createImageEmbeddingPool, similarity } from 'millrace/image-embedding';

interface Photo {
  readonly file: string;
  readonly bytes: number;
  readonly embedding: Float32Array;
}

/** Groups of two and more photographs that are alike, directly or through others. */
async function groupAlike(photos: readonly Photo[], threshold: number): Promise<Photo[][]> {
  const groups = photos.map((photo) => [photo]);
  for (const [row, photo] of photos.entries()) {
    for (let other = 0; other < row; other++) {
      const [mine, theirs] = [groups[row], groups[other]] as [Photo[], Photo[]];
      if (mine === theirs || similarity(photo.embedding, (photos[other] as Photo).embedding) < threshold) continue;
      theirs.push(...mine);
      for (const [index, group] of groups.entries()) if (group === mine) groups[index] = theirs;
    }
    // Comparing all pairs takes seconds for a large library. Yield to timers and signals.
    if (row % 100 === 99) await new Promise((resolve) => setImmediate(resolve));
  }
  return [...new Set(groups)].filter((group) => group.length > 1);
}

const [folder, text = '0.96'] = process.argv.slice(2);
const threshold = Number(text);
if (folder === undefined || !(threshold > 0 && threshold <= 1)) {
  console.error('usage: dedupe-photos.ts <folder> [threshold, more than 0 and at most 1]');
  process.exit(2);
}

const pool = createImageEmbeddingPool({ workers: { max: 2 }, timeoutMs: 60_000 });
try {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  const paths = entries
    .filter((entry) => entry.isFile() && /\.(jpe?g|png|webp|gif|avif|tiff?)$/i.test(entry.name))
    .map((entry) => path.join(entry.parentPath, entry.name))
    .sort();
  const photos: Photo[] = [];
  for await (const { input, embedding, error } of pool.embedImages(paths)) {
    if (error !== undefined) console.error(`left out: ${error.message}`);
    else photos.push({ file: input, bytes: (await stat(input)).size, embedding });
  }
  const groups = await groupAlike(photos, threshold);
  for (const group of groups) {
    const [largest, ...copies] = group.sort((a, b) => b.bytes - a.bytes) as [Photo, ...Photo[]];
    console.log(`keep ${path.relative(folder, largest.file)} (${largest.bytes} bytes)`);
    for (const { file, bytes, embedding } of copies) {
      console.log(
        `     ${path.relative(folder, file)} (${bytes} bytes, ${similarity(largest.embedding, embedding).toFixed(3)})`,
      );
    }
  }
  const copies = groups.reduce((sum, group) => sum + group.length - 1, 0);
  console.log(`${photos.length} photographs, ${copies} of them copies of another`);
} catch (error) {
  console.error(`Cannot compare: ${(error as Error).message}`);
  process.exitCode = 1;
} finally {
  await pool.close();
}
