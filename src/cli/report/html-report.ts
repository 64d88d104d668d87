import type { Neighbour } from './neighbours.js';
import { REPORT_STYLE } from './report-style.js';

/** A photograph of the report. */
export interface ReportPhoto {
  readonly name: string;
  /** A small JPEG of it; undefined where none could be made. */
  readonly thumbnail: Uint8Array | undefined;
  /** The others most like it, nearest first, as indices into the report's photographs. */
  readonly neighbours: readonly Neighbour[];
}

/** Everything the report shows. */
export interface Report {
  readonly title: string;
  /** What is known about the run, as pairs of a label and a value. */
  readonly facts: readonly (readonly [label: string, value: string])[];
  readonly photos: readonly ReportPhoto[];
  /** What has no embedding, and why. */
  readonly failures: readonly { readonly name: string; readonly code: string; readonly message: string }[];
}

/**
 * Renders a page that needs nothing but itself: style and thumbnails are inlined, there is no script, and it opens from disk.
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

/** A text in the content of an element, or in an attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (each) => `&#${each.charCodeAt(0)};`);
}
