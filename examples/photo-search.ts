/**
 * Search by picture: embeds a folder once, then finds the photographs most like a given one, and shows them on a page that opens from disk. The
 * embeddings are kept in `.millrace-index.jsonl` in the folder. The next search embeds only files that are new or have changed.
 *
 *     npm run example examples/photo-search.ts examples/photos examples/photos/cat-1.jpg
 *
 * In a project that has millrace, onnxruntime-node and sharp: `npx tsx photo-search.ts <folder> <query> [page]`. For a real search give
 * the pool a better model than the built-in one: `createImageEmbeddingPool({ model: 'Xenova/clip-vit-base-patch32' })`.
 */
import { readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { createImageEmbeddingPool, type ImageEmbeddingPool, similarity } from 'millrace/image-embedding';

interface Photo {
  readonly file: string;
  /** Size and time of change: another stamp, another picture. */
  readonly stamp: string;
  readonly embedding: readonly number[];
}

/** The photographs of an index; none when there is no index yet, or it is incomplete. */
async function readIndex(file: string): Promise<Map<string, Photo>> {
  const photos = new Map<string, Photo>();
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  for (const line of text.split('\n')) {
    try {
      const photo = JSON.parse(line) as Photo;
      photos.set(photo.file, photo);
    } catch {
      // An empty or incomplete line: that photograph is embedded again.
    }
  }
  return photos;
}

/** The folder's photographs with their embeddings. Photographs in the index are not embedded again. */
async function indexFolder(pool: ImageEmbeddingPool, folder: string): Promise<Photo[]> {
  const indexFile = path.join(folder, '.millrace-index.jsonl');
  const known = await readIndex(indexFile);
  const photos: Photo[] = [];
  const stamps = new Map<string, string>();
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile() || !/\.(jpe?g|png|webp|gif|avif|tiff?)$/i.test(entry.name)) continue;
    const file = path.relative(folder, path.join(entry.parentPath, entry.name));
    const { size, mtimeMs } = await stat(path.join(folder, file));
    const stamp = `${size} ${mtimeMs}`;
    const photo = known.get(file);
    if (photo?.stamp === stamp) photos.push(photo);
    else stamps.set(path.join(folder, file), stamp);
  }

  for await (const { input, embedding, error } of pool.embedImages(stamps.keys())) {
    if (error !== undefined) console.error(`left out: ${error.message}`);
    else photos.push({ file: path.relative(folder, input), stamp: stamps.get(input) ?? '', embedding: [...embedding] });
  }
  if (stamps.size > 0 || photos.length !== known.size) {
    // Written to a temporary file and renamed, so that a crash leaves the old index or the new one.
    const temporary = `${indexFile}.${process.pid}`;
    await writeFile(temporary, photos.map((photo) => `${JSON.stringify(photo)}\n`).join(''));
    await rename(temporary, indexFile);
  }
  console.log(`${photos.length} photographs, ${stamps.size} of them embedded now`);
  return photos;
}

function renderPage(query: string, results: readonly { readonly file: string; readonly score: number }[]): string {
  const html = (text: string) => text.replace(/[&<>"']/g, (each) => `&#${each.charCodeAt(0)};`);
  const figure = (file: string, caption: string) =>
    `<figure><img src="${html(pathToFileURL(file).href)}" alt="" loading="lazy"><figcaption>${html(caption)}</figcaption></figure>`;
  const cards = results.map(({ file, score }) => figure(file, `${path.basename(file)} · ${score.toFixed(3)}`));
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Like ${html(path.basename(query))}</title>
<style>
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 2rem 1.5rem; }
  h1 { font-size: 1.6rem; letter-spacing: -.02em; margin: 2rem 0 1rem; }
  main { display: grid; gap: 1.25rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); }
  figure { margin: 0; } header figure { max-width: 20rem; }
  img { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: cover; border-radius: 10px; background: #8882; }
  figcaption { margin-top: .4rem; font-variant-numeric: tabular-nums; opacity: .75; overflow-wrap: anywhere; }
</style>
<header>${figure(query, `searched for ${path.basename(query)}`)}</header>
<h1>The most alike</h1>
<main>${cards.join('\n')}</main>
</html>
`;
}

const [folder, query, page = 'photo-search.html'] = process.argv.slice(2);
if (folder === undefined || query === undefined) {
  console.error('usage: photo-search.ts <folder> <query> [page]');
  process.exit(2);
}

const pool = createImageEmbeddingPool({ workers: { max: 2 }, timeoutMs: 60_000 });
try {
  const photos = await indexFolder(pool, folder);
  const wanted = await pool.embedImage(query);
  const results = photos
    .map((photo) => ({ file: path.resolve(folder, photo.file), score: similarity(wanted, photo.embedding) }))
    .filter(({ file }) => file !== path.resolve(query))
    .sort((a, b) => b.score - a.score)
    .slice(0, 12);
  await writeFile(page, renderPage(path.resolve(query), results));
  for (const { file, score } of results.slice(0, 3)) console.log(`${score.toFixed(3)}  ${path.basename(file)}`);
  console.log(`page: ${pathToFileURL(page).href}`);
} catch (error) {
  console.error(`Cannot search: ${(error as Error).message}`);
  process.exitCode = 1;
} finally {
  await pool.close();
}
