/** Which pictures of an index a search looks at. */
import path from 'node:path';
import {
  type Check,
  type Filled,
  faultOf,
  fillOptions,
  numberFrom,
  type OptionRow,
  type OptionTable,
  option,
  required,
  requireFunction,
  requireString,
} from '../core/index.js';
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

const NEAR_OPTIONS = {
  lat: required(numberFrom(-90, 90)),
  lon: required(numberFrom(-180, 180)),
  km: option(numberFrom(0, 20_100), 10),
} satisfies OptionTable<Near>;

const requireNear: Check<Filled<Near>> = (action, name, value) =>
  fillOptions(action, value as object, NEAR_OPTIONS, name);

const DATE = /^\d{4}(-\d{2}(-\d{2}([T ]\d{2}:\d{2}(:\d{2})?)?)?)?$/;

const requireDate: Check<string> = (action, name, value) => {
  const text = requireString(action, name, value);
  if (DATE.test(text)) return text.replace(' ', 'T');
  throw faultOf(action, name, 'a date such as 2024-07-31', value, RangeError);
};

/** The filled conditions. */
export type Conditions = Omit<FilterOptions, 'near'> & { readonly near?: Filled<Near> | undefined };

/** The options of {@link FilterOptions}. */
export const FILTER_OPTIONS: { readonly [K in keyof FilterOptions]-?: OptionRow<Conditions[K]> } = {
  after: option(requireDate),
  before: option(requireDate),
  near: option(requireNear),
  camera: option(requireString),
  folder: option(requireString),
  where: option<(item: IndexItem) => boolean>(requireFunction),
};

/** The conditions as one; undefined where there are none. */
export function createFilter(given: Conditions): ((item: IndexItem) => boolean) | undefined {
  const tests: ((item: IndexItem) => boolean)[] = [];
  const { after, before, near, camera, folder, where } = given;
  if (after !== undefined) tests.push((item) => (dateOf(item) ?? '') >= after);
  if (before !== undefined) {
    tests.push((item) => {
      const date = dateOf(item);
      return date !== undefined && date < before;
    });
  }
  if (near !== undefined) tests.push((item) => isNear(item, near));
  if (camera !== undefined) {
    const part = camera.toLowerCase();
    tests.push((item) => item.camera?.toLowerCase().includes(part) ?? false);
  }
  if (folder !== undefined) {
    const root = path.join(path.resolve(folder), path.sep);
    tests.push((item) => item.path.startsWith(root));
  }
  if (where !== undefined) tests.push(where);
  return tests.length === 0 ? undefined : (item) => tests.every((test) => test(item));
}

/** When a picture was taken, as far as is known, in a form that sorts. */
export function dateOf({ taken, mtime }: IndexItem): string | undefined {
  if (taken !== undefined) return taken;
  if (mtime === undefined) return undefined;
  const date = new Date(mtime);
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19);
}

function isNear({ lat, lon }: IndexItem, near: Filled<Near>): boolean {
  if (lat === undefined || lon === undefined) return false;
  return distanceKm(lat, lon, near.lat, near.lon) <= near.km;
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
