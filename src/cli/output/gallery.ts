/** A page of pictures that were found: thumbnails inside, originals linked; it opens from disk and needs no script. */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { encodePath, mapInOrder, pathOfFileUrl } from '../../image-embedding/internal.js';
import type { IndexItem } from '../../search/index.js';
import { dateOf } from '../../search/internal.js';
import type { CommandContext } from '../command/context.js';
import { ReplacingFile } from './replacing-file.js';
import { escapeHtml, REPORT_STYLE } from './report.js';

/** A picture of a gallery. */
export interface GalleryPicture {
  /** Its absolute path, or its URL. */
  readonly path: string;
  readonly item: IndexItem;
  /** A score, or what it is. */
  readonly note: string;
  /** What stands beside it: its date by default. */
  readonly detail?: string | undefined;
}

/** What a gallery shows. */
export interface Gallery {
  readonly title: string;
  readonly groups: readonly { readonly pictures: readonly GalleryPicture[] }[];
}

const GALLERY_STYLE = `
.group { display: grid; gap: 20px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 220px), 1fr)); grid-column: 1 / -1; }
.group + .group { border-top: 1px solid var(--line); padding-top: 24px; }
.facts-of { margin: 0; display: flex; gap: 10px; justify-content: space-between; padding: 10px 14px 12px; font-size: 12.5px; color: var(--soft); }
.facts-of b { color: var(--ink); font-variant-numeric: tabular-nums; }
article a { color: inherit; text-decoration: none; }
article a:focus-visible { outline: 3px solid var(--accent); outline-offset: -3px; border-radius: 18px; }
.none { grid-column: 1 / -1; color: var(--soft); font-size: 17px; }
`;

/** Writes a gallery. The thumbnails are made in a worker. @throws UsageError when it cannot be written. */
export async function writeGallery(context: CommandContext, file: string, gallery: Gallery): Promise<void> {
  const page = await ReplacingFile.open(file);
  try {
    for await (const part of render(context, gallery)) await page.append(Buffer.from(part));
  } catch (error) {
    await page.discard();
    throw error;
  }
  await page.commit();
  context.stdout.write(`page  ${pathToFileURL(path.resolve(file)).href}\n`);
}

async function* render(context: CommandContext, { title, groups }: Gallery): AsyncGenerator<string, void, void> {
  const count = groups.reduce((sum, { pictures }) => sum + pictures.length, 0);
  yield `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>${escapeHtml(title)}</title>
<style>${REPORT_STYLE}${GALLERY_STYLE}</style>
</head>
<body>
<header>
<h1>${escapeHtml(title)}</h1>
<p class="lead">${count} ${count === 1 ? 'picture' : 'pictures'}; each opens the original.</p>
</header>
<main>
${count === 0 ? '<p class="none">No picture matches.</p>' : ''}`;
  const maker = await context.createThumbnailMaker();
  try {
    for (const { pictures } of groups) {
      yield '<section class="group">\n';
      const make = async (picture: GalleryPicture): Promise<string> => {
        const thumbnail = await maker.make(pathOfFileUrl(picture.path) ?? picture.path).catch(() => undefined);
        return card(picture, thumbnail);
      };
      const cards = mapInOrder(pictures, { concurrency: maker.window, map: make });
      for await (const each of cards) yield each;
      yield '</section>\n';
    }
  } finally {
    await maker.close();
  }
  yield '</main>\n<footer>Made by <b>millrace</b> on this machine. Nothing was sent anywhere.</footer>\n</body>\n</html>\n';
}

function card({ path: file, item, note, detail }: GalleryPicture, thumbnail: Uint8Array | undefined): string {
  const name = escapeHtml(path.basename(file));
  const image =
    thumbnail === undefined
      ? '<span class="missing">no picture</span>'
      : `<img src="data:image/jpeg;base64,${Buffer.from(thumbnail).toString('base64')}" alt="${name}" loading="lazy" decoding="async">`;
  return `<article><a href="${escapeHtml(addressOf(file))}" title="${escapeHtml(file)}">
<figure>${image}<figcaption>${name}</figcaption></figure>
<p class="facts-of"><b>${escapeHtml(note)}</b><span>${escapeHtml(detail ?? dateOf(item)?.slice(0, 10) ?? '')}</span></p></a></article>
`;
}

function addressOf(file: string): string {
  return /^(https?|file):/i.test(file) || typeof encodePath(file) !== 'string' ? file : pathToFileURL(file).href;
}
