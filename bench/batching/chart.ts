/** Two panels for each model: over the size of batches, and over the delay. */

/** What was measured with one setting. */
export interface Point {
  readonly maxBatch: number;
  readonly maxDelayMs: number;
  /** As fast as it goes. */
  readonly imagesPerSecond: number;
  readonly cpuMsPerImage: number;
  /** At half of the capacity, arrivals at random. */
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** The measurements of a model. */
export interface Curve {
  readonly model: string;
  readonly byBatch: readonly Point[];
  readonly byDelay: readonly Point[];
}

interface Series {
  readonly legend: string;
  readonly colour: string;
  readonly values: readonly number[];
  /** What the top of the panel is. */
  readonly most: number;
}

const WIDTH = 790;
const PANEL = { width: 300, height: 150 };
const LEFT = 50;
const GAP = 80;
const ROW = 250;
/** Where the legend of each series begins. */
const LEGEND = [0, 116, 164] as const;

/** The chart as SVG. */
export function toSvg(curves: readonly Curve[]): string {
  const panels = curves.flatMap(({ model, byBatch, byDelay }, row) => {
    const batch = byDelay[0]?.maxBatch ?? 0;
    const top = row * ROW;
    return [
      panel(
        `${model}, images in a batch`,
        byBatch,
        byBatch.map((each) => each.maxBatch),
        LEFT,
        top,
      ),
      panel(
        `${model}, ms of delay, batches of ${batch}`,
        byDelay,
        byDelay.map((each) => each.maxDelayMs),
        LEFT + PANEL.width + GAP,
        top,
      ),
    ];
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${curves.length * ROW + 8}" font-family="system-ui, sans-serif" font-size="11">
<rect width="${WIDTH}" height="${curves.length * ROW + 8}" fill="#ffffff"/>
${panels.join('\n')}
</svg>
`;
}

function panel(title: string, points: readonly Point[], labels: readonly number[], left: number, top: number): string {
  const fastest = Math.max(...points.map((each) => each.imagesPerSecond));
  const slowest = Math.max(...points.map((each) => each.p99Ms));
  const series: Series[] = [
    {
      legend: `images/s (top ${rounded(fastest)})`,
      colour: '#0b6e99',
      values: points.map((each) => each.imagesPerSecond),
      most: fastest,
    },
    { legend: 'p50 ms', colour: '#c2410c', values: points.map((each) => each.p50Ms), most: slowest },
    {
      legend: `p99 ms (top of both ${rounded(slowest)})`,
      colour: '#d6a08a',
      values: points.map((each) => each.p99Ms),
      most: slowest,
    },
  ];
  const x = (at: number) => left + (at / Math.max(1, points.length - 1)) * PANEL.width;
  const base = top + 50 + PANEL.height;
  const lines = series.map(({ colour, values, most }) => {
    const at = values.map(
      (value, index) => `${x(index).toFixed(1)},${(base - (value / most) * PANEL.height).toFixed(1)}`,
    );
    return `<polyline points="${at.join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`;
  });
  const ticks = labels.map(
    (label, index) =>
      `<text x="${x(index).toFixed(1)}" y="${base + 16}" text-anchor="middle" fill="#1f2a30">${label}</text>`,
  );
  const legend = series.map(
    ({ legend, colour }, index) =>
      `<text x="${left + LEGEND[index]!}" y="${top + 38}" fill="${colour}">${legend}</text>`,
  );
  return `<text x="${left}" y="${top + 20}" font-weight="600" font-size="13" fill="#1f2a30">${title}</text>
${legend.join('')}
<line x1="${left}" x2="${left + PANEL.width}" y1="${base}" y2="${base}" stroke="#8a979e"/>
${lines.join('\n')}
${ticks.join('')}`;
}

function rounded(value: number): string {
  return value.toFixed(value < 100 ? 1 : 0);
}
