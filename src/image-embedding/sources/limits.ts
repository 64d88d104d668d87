/**
 * The limits of inputs: one plain record, checked once where the pool is made, which then crosses to the child process as it is.
 */
import {
  fillOptions,
  type Given,
  group,
  nonNegativeIntegerUpTo,
  type OptionTable,
  oneOf,
  option,
  positiveIntegerUpTo,
  requireBoolean,
  requireMilliseconds,
} from '../../core/index.js';

/** What may be fetched, and how much of it. */
export interface UrlLimits {
  /** The most bytes an image may have, as sent and again after decompression. */
  readonly maxBytes: number;
  /** How long resolving, connecting and receiving the header may take, for each hop, in ms. */
  readonly connectTimeoutMs: number;
  /** How long receiving the body may take in all, in ms. */
  readonly bodyTimeoutMs: number;
  /** How many redirects are followed; each is checked like the first URL. */
  readonly maxRedirects: number;
  /** When given, only these hosts: `example.com` is that host alone, `*.example.com` every host below it. */
  readonly allowHosts: readonly string[] | undefined;
  /** Never these hosts, written the same way; stronger than `allowHosts`. */
  readonly denyHosts: readonly string[];
  /** Whether loopback, private, link-local and other special addresses may be fetched. For tests and closed networks. */
  readonly allowPrivateAddresses: boolean;
}

/** How sound a file has to be, in sharp's words. */
export type FailOn = 'none' | 'truncated' | 'error' | 'warning';

/** Every limit of an image on its way in, filled. */
export interface ImageLimits {
  /** The most bytes an image from a path, base64 or bytes may have, still encoded. */
  readonly maxBytes: number;
  /** The most pixels (width times height) an image may have; checked from its header, before anything is decoded. */
  readonly maxPixels: number;
  /** How long decoding and resizing one image may take, in ms. */
  readonly decodeTimeoutMs: number;
  /**
   * From which fault on a file that is not whole is refused, in sharp's words: `'none'` takes what can be decoded, `'truncated'` refuses files that
   * were cut, `'error'` damage that the decoder can't pass over, `'warning'` everything that it complains of.
   */
  readonly failOn: FailOn;
  /** When given, paths must lead into one of these folders, links followed. */
  readonly roots: readonly string[] | undefined;
  /** Limits of fetching. */
  readonly url: UrlLimits;
}

/** The limits a caller may set; what is left out has its default. */
export interface ImageLimitOptions extends Partial<Omit<ImageLimits, 'url'>> {
  readonly url?: Given<UrlLimits> | undefined;
}

const MAX_BYTES = 2 ** 31 - 1;

const URL_LIMITS: OptionTable<UrlLimits> = {
  maxBytes: option(positiveIntegerUpTo(MAX_BYTES), 20_000_000),
  connectTimeoutMs: option(requireMilliseconds, 5_000),
  bodyTimeoutMs: option(requireMilliseconds, 5_000),
  maxRedirects: option(nonNegativeIntegerUpTo(20), 3),
  allowHosts: option(requireHosts),
  denyHosts: option(requireHosts, Object.freeze([])),
  allowPrivateAddresses: option(requireBoolean, false),
};

/** The option table of image limits. */
export const IMAGE_LIMITS: OptionTable<ImageLimits> = {
  maxBytes: option(positiveIntegerUpTo(MAX_BYTES), 100_000_000),
  maxPixels: option(positiveIntegerUpTo(268_402_689), 50_000_000),
  decodeTimeoutMs: option(requireMilliseconds, 20_000),
  failOn: option(oneOf(['none', 'truncated', 'error', 'warning']), 'error'),
  roots: option(requireStrings),
  url: group(URL_LIMITS),
};

/**
 * Checks limits and fills in the defaults.
 *
 * @param options The limits that the caller set.
 * @returns A frozen, filled record, safe to send to another process.
 * @throws TypeError when an option is unknown or of the wrong type, RangeError when a number is out of range.
 * @example
 * ```ts
 * resolveImageLimits({ url: { maxRedirects: 0 } }).url.maxRedirects; // => 0
 * resolveImageLimits({ maxPixels: -1 }); // throws RangeError
 * ```
 */
export function resolveImageLimits(options?: ImageLimitOptions): ImageLimits {
  return fillOptions('Cannot set image limits', options, IMAGE_LIMITS);
}

function requireStrings(action: string, name: string, value: unknown): readonly string[] {
  if (!Array.isArray(value) || value.some((each) => typeof each !== 'string' || each === '')) {
    throw new TypeError(`${action}: ${name} must be an array of strings that are not empty`);
  }
  return Object.freeze([...value]);
}

/** Host patterns in the form that a parsed URL has: lower case, punycode, without a final dot. */
function requireHosts(action: string, name: string, value: unknown): readonly string[] {
  return Object.freeze(
    requireStrings(action, name, value).map((pattern) => {
      const wild = pattern.startsWith('*.');
      const host = wild ? pattern.slice(2) : pattern;
      // A bare IPv6 address needs its brackets to be a host.
      const inUrl = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
      const parsed = URL.canParse(`http://${inUrl}/`) ? new URL(`http://${inUrl}/`) : undefined;
      if (parsed === undefined || parsed.host === '' || parsed.pathname !== '/' || parsed.port !== '') {
        throw new TypeError(
          `${action}: ${name} must hold hosts such as 'example.com' or '*.example.com', received '${pattern}'`,
        );
      }
      return `${wild ? '*.' : ''}${parsed.hostname.replace(/\.$/, '')}`;
    }),
  );
}
