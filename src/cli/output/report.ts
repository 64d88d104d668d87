/** The demo's page: which photographs are most alike, and how it is shown. */
import { scheduleMacrotask } from '../../core/index.js';

/** A photograph of the report. */
export interface ReportPhoto {
  readonly name: string;
  /** A small JPEG of it; undefined if none could be made. */
  readonly thumbnail: Uint8Array | undefined;
  /** The others most like it, nearest first, as indices into the report's photographs. */
  readonly neighbours: readonly Neighbour[];
}

/** Everything the report shows. */
export interface Report {
  readonly title: string;
  /** Facts about the run, each a label and a value. */
  readonly facts: readonly (readonly [label: string, value: string])[];
  readonly photos: readonly ReportPhoto[];
  /** The images that have no embedding, and why. */
  readonly failures: readonly { readonly name: string; readonly code: string; readonly message: string }[];
}

/**
 * Renders a page with its style and thumbnails inlined and without scripts, so that it opens from disk.
 *
 * @returns The page in pieces, so that it can be written without being held in one string.
 */
export function* renderReport(report: Report): Generator<string, void, undefined> {
  const { title, photos, failures } = report;
  const sources = photos.map((photo) =>
    photo.thumbnail === undefined
      ? undefined
      : `data:image/jpeg;base64,${Buffer.from(photo.thumbnail).toString('base64')}`,
  );
  yield `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>${escapeHtml(title)}</title>
<style>${REPORT_STYLE}</style>
</head>
<body>
<header>
<h1>${escapeHtml(title)}</h1>
<p class="lead">Each photograph with the three most like it, by the cosine of their embeddings: 1 is the same, 0 has nothing in common.</p>
<dl class="facts">${report.facts.map(([label, value]) => `<div><dt>${escapeHtml(label)}</dt><dd>${escapeHtml(value)}</dd></div>`).join('')}</dl>
</header>
<main>
`;
  for (const [index, photo] of photos.entries()) yield card(photo, index, photos, sources);
  yield '</main>\n';
  if (failures.length > 0) {
    const rows = failures.map(
      ({ name, code, message }) =>
        `<li><b>${escapeHtml(name)}</b> <code>${escapeHtml(code)}</code> ${escapeHtml(message)}</li>`,
    );
    yield `<section class="failures"><h2>Not embedded</h2><ul>${rows.join('')}</ul></section>\n`;
  }
  yield '<footer>Made by <b>millrace</b> on this machine. Nothing was sent anywhere.</footer>\n</body>\n</html>\n';
}

function card(
  photo: ReportPhoto,
  index: number,
  photos: readonly ReportPhoto[],
  sources: readonly (string | undefined)[],
): string {
  const neighbours = photo.neighbours.map(({ index: other, cosine }) => {
    const name = photos[other]?.name ?? '';
    const value = cosine.toFixed(3);
    const share = `${Math.round(Math.max(0, Math.min(1, cosine)) * 100)}%`;
    return `<li><a href="#photo-${other}" title="${escapeHtml(name)}">${image(sources[other], name)}<span class="name">${escapeHtml(name)}</span></a>
<span class="cosine"><span class="bar" style="--share:${share}"></span>${value}</span></li>`;
  });
  return `<article id="photo-${index}">
<figure>${image(sources[index], photo.name)}<figcaption>${escapeHtml(photo.name)}</figcaption></figure>
<ol>${neighbours.join('\n')}</ol>
</article>
`;
}

function image(source: string | undefined, name: string): string {
  if (source === undefined) return '<span class="missing">no picture</span>';
  return `<img src="${source}" alt="${escapeHtml(name)}" loading="lazy" decoding="async">`;
}

/** Escapes a text for the content of an element or an attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (each) => `&#${each.charCodeAt(0)};`);
}

/** Another vector and its similarity. */
export interface Neighbour {
  readonly index: number;
  /** The cosine of the angle between the two: 1 for the same direction. */
  readonly cosine: number;
}

/**
 * Finds for every vector the `count` others most like it, nearest first. Compares all pairs; the event loop runs between rows.
 *
 * @param vectors Vectors of one dimension and of unit length.
 * @param count How many to find for each.
 */
export async function findNeighbours(vectors: readonly Float32Array[], count: number): Promise<Neighbour[][]> {
  const rows: Neighbour[][] = [];
  for (let row = 0; row < vectors.length; row++) {
    const found: Neighbour[] = [];
    for (let index = 0; index < vectors.length; index++) {
      if (index === row) continue;
      const cosine = dot(vectors[row] as Float32Array, vectors[index] as Float32Array);
      if (found.length === count && cosine <= (found[count - 1] as Neighbour).cosine) continue;
      const at = found.findIndex((each) => each.cosine < cosine);
      found.splice(at < 0 ? found.length : at, 0, { index, cosine });
      if (found.length > count) found.pop();
    }
    rows.push(found);
    await new Promise<void>((resolve) => scheduleMacrotask(resolve));
  }
  return rows;
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let index = 0; index < a.length; index++) sum += (a[index] as number) * (b[index] as number);
  return sum;
}

/** A grid of cards that follows the width and the colour scheme of the browser. */
export const REPORT_STYLE: string = `
:root {
  color-scheme: light dark;
  --paper: #f6f5f2; --card: #ffffff; --ink: #1d1f23; --soft: #686d76; --line: #e3e1db; --accent: #1f7a6c; --track: #e6ece9;
  --shadow: 0 1px 2px rgb(20 20 20 / .05), 0 8px 24px -12px rgb(20 20 20 / .18);
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #131517; --card: #1c1f22; --ink: #eceae5; --soft: #9aa0a8; --line: #2b2f34; --accent: #58c4ae; --track: #2a3433;
    --shadow: 0 1px 2px rgb(0 0 0 / .4), 0 10px 28px -14px rgb(0 0 0 / .8);
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
header, main, .failures, footer { max-width: 1320px; margin-inline: auto; padding-inline: clamp(16px, 4vw, 40px); }
header { padding-block: clamp(28px, 6vw, 64px) 24px; }
h1 { margin: 0; font-size: clamp(28px, 4.4vw, 44px); line-height: 1.1; letter-spacing: -.025em; font-weight: 680; text-wrap: balance; }
.lead { margin: 12px 0 0; max-width: 62ch; color: var(--soft); font-size: 17px; text-wrap: pretty; }
.facts { display: flex; flex-wrap: wrap; gap: 8px; margin: 24px 0 0; }
.facts div { display: flex; gap: 8px; align-items: baseline; padding: 5px 12px; border: 1px solid var(--line); border-radius: 999px; background: var(--card); }
.facts dt { color: var(--soft); font-size: 13px; }
.facts dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; }
main { display: grid; gap: 24px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 360px), 1fr)); padding-block: 8px 48px; }
article { display: flex; flex-direction: column; background: var(--card); border: 1px solid var(--line); border-radius: 18px; overflow: hidden; box-shadow: var(--shadow); scroll-margin-top: 24px; }
article:target { outline: 3px solid var(--accent); outline-offset: 3px; }
figure { margin: 0; position: relative; }
figure img, figure .missing { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: cover; background: var(--track); }
figcaption { position: absolute; left: 12px; bottom: 12px; max-width: calc(100% - 24px); padding: 3px 11px; border-radius: 999px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
  background: rgb(16 18 20 / .72); color: #fff; font-size: 13px; font-weight: 600; backdrop-filter: blur(8px); }
ol { list-style: none; display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 12px; margin: 0; padding: 14px; }
li a { display: block; color: inherit; text-decoration: none; border-radius: 10px; }
li a:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
li img, li .missing { display: block; width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 10px; background: var(--track); transition: transform .18s ease; }
li a:hover img { transform: scale(1.03); }
.missing { display: grid !important; place-items: center; color: var(--soft); font-size: 12px; }
.name { display: block; margin-top: 7px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-size: 12.5px; color: var(--soft); }
.cosine { display: flex; align-items: center; gap: 8px; font-size: 12.5px; font-weight: 640; font-variant-numeric: tabular-nums; }
.bar { flex: 1; height: 5px; border-radius: 99px; background: linear-gradient(var(--accent), var(--accent)) 0 / var(--share) 100% no-repeat, var(--track); }
.failures { padding-bottom: 32px; }
.failures h2 { font-size: 18px; margin: 0 0 8px; }
.failures ul { margin: 0; padding-left: 20px; color: var(--soft); }
code { font: 13px ui-monospace, monospace; color: var(--accent); }
footer { padding-block: 0 48px; color: var(--soft); font-size: 13px; }
@media (prefers-reduced-motion: reduce) { li img { transition: none; } }
@media print { article { break-inside: avoid; box-shadow: none; } }
`;
