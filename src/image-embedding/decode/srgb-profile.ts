/**
 * Recognises sRGB profiles, which most photographs on the web carry: converting sRGB to sRGB takes as long as decoding. The primaries and two points
 * of the tone curve are compared, since profile names vary.
 */

/** sRGB's primaries under the profile's D50 white. */
const PRIMARIES: Readonly<Record<string, readonly [number, number, number]>> = {
  rXYZ: [0.436, 0.2225, 0.0139],
  gXYZ: [0.3851, 0.7169, 0.0971],
  bXYZ: [0.1431, 0.0606, 0.7141],
};
const PRIMARY_TOLERANCE = 0.002;

/** Signal, and its linear light in sRGB. */
const CURVE: readonly (readonly [number, number])[] = [
  [0.5, 0.214],
  [0.1, 0.01],
];
const CURVE_TOLERANCE = 0.001;

/** Whether a profile is sRGB; false for a damaged profile. */
export function isSrgbProfile(icc: Uint8Array): boolean {
  try {
    const view = new DataView(icc.buffer, icc.byteOffset, icc.byteLength);
    if (signature(view, 16) !== 'RGB ' || signature(view, 20) !== 'XYZ ') return false;
    const tags = readTags(view);
    // A lookup table takes precedence over primaries and curves.
    if (tags.has('A2B0') || tags.has('A2B1')) return false;
    return (
      Object.entries(PRIMARIES).every(([tag, wanted]) => hasPrimary(view, tags.get(tag), wanted)) &&
      ['rTRC', 'gTRC', 'bTRC'].every((tag) => hasCurve(view, tags.get(tag)))
    );
  } catch {
    // A read past the end: the profile is damaged.
    return false;
  }
}

function readTags(view: DataView): Map<string, number> {
  const tags = new Map<string, number>();
  const count = Math.min(100, view.getUint32(128));
  for (let index = 0; index < count; index++) {
    tags.set(signature(view, 132 + index * 12), view.getUint32(136 + index * 12));
  }
  return tags;
}

function hasPrimary(view: DataView, at: number | undefined, wanted: readonly number[]): boolean {
  if (at === undefined || signature(view, at) !== 'XYZ ') return false;
  return wanted.every((value, index) => Math.abs(fixed(view, at + 8 + index * 4) - value) < PRIMARY_TOLERANCE);
}

function hasCurve(view: DataView, at: number | undefined): boolean {
  if (at === undefined) return false;
  const evaluate = readCurve(view, at);
  return evaluate !== undefined && CURVE.every(([x, y]) => Math.abs(evaluate(x) - y) < CURVE_TOLERANCE);
}

function readCurve(view: DataView, at: number): ((x: number) => number) | undefined {
  const kind = signature(view, at);
  if (kind === 'para' && view.getUint16(at + 8) === 3) {
    const [g, a, b, c, d] = [0, 1, 2, 3, 4].map((index) => fixed(view, at + 12 + index * 4)) as [
      number,
      number,
      number,
      number,
      number,
    ];
    return (x) => (x >= d ? (a * x + b) ** g : c * x);
  }
  const count = kind === 'curv' ? view.getUint32(at + 8) : 0;
  if (count < 2) return undefined;
  return (x) => {
    const position = x * (count - 1);
    const low = Math.floor(position);
    const [from, to] = [low, Math.min(count - 1, low + 1)].map((index) => view.getUint16(at + 12 + index * 2) / 65_535);
    return (from as number) + ((to as number) - (from as number)) * (position - low);
  };
}

function fixed(view: DataView, at: number): number {
  return view.getInt32(at) / 65_536;
}

function signature(view: DataView, at: number): string {
  return String.fromCharCode(...[0, 1, 2, 3].map((index) => view.getUint8(at + index)));
}
