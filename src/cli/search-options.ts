import { InvalidArgumentError } from 'commander';

/** Parses a score. */
export function parseScore(text: string): number {
  const score = Number(text);
  if (text.trim() === '' || !(score >= -1 && score <= 1))
    throw new InvalidArgumentError('expected a number from -1 to 1');
  return score;
}

/** Parses a place: `48.86,2.35` or, with kilometres, `48.86,2.35,20`. */
export function parsePlace(text: string): { readonly lat: number; readonly lon: number; readonly km?: number } {
  const [lat = Number.NaN, lon = Number.NaN, km, ...more] = text.split(',').map(Number);
  const isPlace =
    Math.abs(lat) <= 90 && Math.abs(lon) <= 180 && !Number.isNaN(km) && !((km ?? 0) < 0) && more.length === 0;
  if (!isPlace) throw new InvalidArgumentError('expected latitude,longitude or latitude,longitude,kilometres');
  return { lat, lon, ...(km === undefined ? {} : { km }) };
}
