/** Images per second as bars, with a line at the limit. */
import type { ModelReport, Row } from './report.js';

const WIDTH = 760;
const LEFT = 200;
const RIGHT = 60;
const BAR = 20;
const GAP = 8;
const HEAD = 44;

/** An SVG with a panel for each model. */
export function toSvg(reports: readonly ModelReport[]): string {
  const panels: string[] = [];
  let top = 8;
  for (const report of reports) {
    const rows = report.rows.filter((row) => !row.isPart);
    panels.push(panel(report, rows, top));
    top += HEAD + rows.length * (BAR + GAP) + 16;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${top}" font-family="system-ui, sans-serif" font-size="13">
<rect width="${WIDTH}" height="${top}" fill="#ffffff"/>
${panels.join('\n')}
</svg>
`;
}

function panel({ model, limit, cores }: ModelReport, rows: readonly Row[], top: number): string {
  const most = Math.max(limit, ...rows.map((row) => row.imagesPerSecond));
  const scale = (value: number) => (value / most) * (WIDTH - LEFT - RIGHT);
  const bars = rows.map((row, index) => {
    const y = top + HEAD + index * (BAR + GAP);
    const end = LEFT + scale(row.imagesPerSecond);
    const fill = index === 0 ? '#0b6e99' : '#b8c4cc';
    return `<text x="${LEFT - 8}" y="${y + 15}" text-anchor="end" fill="#1f2a30">${escapeXml(row.name)}</text><rect x="${LEFT}" y="${y}" width="${(end - LEFT).toFixed(1)}" height="${BAR}" rx="2" fill="${fill}"/><text x="${(end + 6).toFixed(1)}" y="${y + 15}" fill="#1f2a30">${row.imagesPerSecond.toFixed(row.imagesPerSecond < 100 ? 1 : 0)}</text>`;
  });
  const at = (LEFT + scale(limit)).toFixed(1);
  const bottom = top + HEAD + rows.length * (BAR + GAP);
  return `<text x="12" y="${top + 16}" font-weight="600" fill="#1f2a30">${escapeXml(model)}: images per second, ${cores} cores</text>
<line x1="${at}" x2="${at}" y1="${top + HEAD - 8}" y2="${bottom}" stroke="#c2410c" stroke-dasharray="4 3"/>
<text x="${at}" y="${top + HEAD - 12}" text-anchor="end" fill="#c2410c">limit ${limit.toFixed(limit < 100 ? 1 : 0)}</text>
${bars.join('\n')}`;
}

function escapeXml(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;');
}
