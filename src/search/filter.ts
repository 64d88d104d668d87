/** Which pictures of an index a search looks at. */
import path from 'node:path';
import { faultOf, requireFunction, requireNumber, requireString } from '../core/index.js';
import type { IndexItem } from './item.js';

/** A place, and how far from it. */
export interface Near {
  /** In degrees. */
  readonly lat: number;
  readonly lon: number;
  /** The radius in kilometres; 10 by default. */
  readonly km?: number | undefined;
}

/** Conditions that all have to hold. A picture of which a thing is not known does not meet a condition on it. */
export interface FilterOptions {
  /** Taken at this time or later: `2024`, `2024-07-31` or `2024-07-31T18:05:09`. A picture without a date has that of its file. */
  readonly after?: string | undefined;
  /** Taken before this time. */
  readonly before?: string | undefined;
  readonly near?: Near | undefined;
  /** Part of the camera's name, in any case. */
  readonly camera?: string | undefined;
  /** Is in this folder, at any depth. */
  readonly folder?: string | undefined;
  /** Anything else. */
  readonly where?: ((item: IndexItem) => boolean) | undefined;
}

/** The names of the options. */
export const FILTER_KEYS = ['after', 'before', 'near', 'camera', 'folder', 'where'] as const;

/** Checks the conditions; returns undefined where there are none. @throws TypeError, RangeError */
export function createFilter(action: string, given: FilterOptions): ((item: IndexItem) => boolean) | undefined {
  const tests: ((item: IndexItem) => boolean)[] = [];
  const { after, before, near, camera, folder, where } = given;
  if (after !== undefined) {
    const from = requireDate(action, 'after', after);
    tests.push((item) => (dateOf(item) ?? '') >= from);
  }
  if (before !== undefined) {
    const until = requireDate(action, 'before', before);
    tests.push((item) => {
      const date = dateOf(item);
      return date !== undefined && date < until;
    });
  }
  if (near !== undefined) {
    const lat = requireNumber(action, 'near.lat', near.lat, -90, 90);
    const lon = requireNumber(action, 'near.lon', near.lon, -180, 180);
    const km = requireNumber(action, 'near.km', near.km ?? 10, 0, 20_100);
    tests.push(
      (item) => item.lat !== undefined && item.lon !== undefined && distanceKm(item.lat, item.lon, lat, lon) <= km,
    );
  }
  if (camera !== undefined) {
    const part = requireString(action, 'camera', camera).toLowerCase();
    tests.push((item) => item.camera?.toLowerCase().includes(part) ?? false);
  }
  if (folder !== undefined) {
    const root = path.join(path.resolve(requireString(action, 'folder', folder)), path.sep);
    tests.push((item) => item.path.startsWith(root));
  }
  if (where !== undefined) tests.push(requireFunction<(item: IndexItem) => boolean>(action, 'where', where));
  return tests.length === 0 ? undefined : (item) => tests.every((test) => test(item));
}

const DATE = /^\d{4}(-\d{2}(-\d{2}([T ]\d{2}:\d{2}(:\d{2})?)?)?)?$/;

function requireDate(action: string, name: string, value: unknown): string {
  const text = requireString(action, name, value);
  if (DATE.test(text)) return text.replace(' ', 'T');
  throw faultOf(action, name, 'a date such as 2024-07-31', value, RangeError);
}

/** When a picture was taken, as far as is known, in a form that sorts. */
export function dateOf({ taken, mtime }: IndexItem): string | undefined {
  if (taken !== undefined) return taken;
  if (mtime === undefined) return undefined;
  const date = new Date(mtime);
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19);
}

const EARTH_KM = 6_371;

/** Along the surface, by the haversine formula. */
function distanceKm(lat: number, lon: number, otherLat: number, otherLon: number): number {
  const radians = Math.PI / 180;
  const north = Math.sin(((otherLat - lat) * radians) / 2) ** 2;
  const east = Math.sin(((otherLon - lon) * radians) / 2) ** 2;
  const chord = north + Math.cos(lat * radians) * Math.cos(otherLat * radians) * east;
  return 2 * EARTH_KM * Math.asin(Math.min(1, Math.sqrt(chord)));
}
