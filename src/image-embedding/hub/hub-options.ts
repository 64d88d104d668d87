/** How models are brought from the Hugging Face hub. */
import {
  requireBoolean,
  requireFunction,
  requireMilliseconds,
  requireNonNegativeInteger,
  requireOptions,
  requireString,
} from '../../core/index.js';

/** How far a download is. */
export interface HubProgress {
  /** The model's name on the hub. */
  readonly model: string;
  /** The file that is being received. */
  readonly file: string;
  /** Bytes of this file that are there, what an earlier try left included. */
  readonly receivedBytes: number;
  readonly totalBytes: number;
  /** The same over all files of the model that are being downloaded. */
  readonly allReceivedBytes: number;
  readonly allTotalBytes: number;
}

/** Options of downloads from the hub. */
export interface HubOptions {
  /** The hub, or a mirror of it; `HF_ENDPOINT` or `https://huggingface.co` by default. */
  readonly endpoint?: string | undefined;
  /** The cache folder, shared with Python's huggingface_hub; `HF_HUB_CACHE`, `HF_HOME/hub` or `~/.cache/huggingface/hub` by default. */
  readonly cacheDir?: string | undefined;
  /** Sent to the endpoint and nowhere else; `HF_TOKEN`, or what `hf auth login` stored, by default. Empty for none. */
  readonly accessToken?: string | undefined;
  /** Asks the hub in place of the global `fetch`: behind a proxy, say, with a dispatcher of undici's. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /** Whether only the cache is used; true by default when `HF_HUB_OFFLINE` is set to 1. */
  readonly offline?: boolean | undefined;
  /** Told as a download goes on, at most ten times a second, and at the end of each file. */
  readonly onProgress?: ((progress: HubProgress) => void) | undefined;
  /**
   * How often a request is tried again that the network failed, or that was answered by 408, 429 or 5xx; a file goes on where it stopped. 4 by default.
   * The pause is what the hub asks for (`Retry-After`), up to a minute; one that asks for more is not waited for.
   */
  readonly retries?: number | undefined;
  /** How long a download may stand still before it is tried again, in ms; 30,000 by default. */
  readonly stallTimeoutMs?: number | undefined;
}

/** Hub options, checked and filled. */
export interface HubSettings {
  /** From the environment unchecked: it matters where the hub is asked, and nowhere else. */
  readonly endpoint: string;
  readonly cacheDir: string | undefined;
  readonly accessToken: string | undefined;
  readonly fetch: typeof globalThis.fetch | undefined;
  readonly offline: boolean;
  readonly onProgress: ((progress: HubProgress) => void) | undefined;
  readonly retries: number;
  readonly stallTimeoutMs: number;
}

const KNOWN = [
  'endpoint',
  'cacheDir',
  'accessToken',
  'fetch',
  'offline',
  'onProgress',
  'retries',
  'stallTimeoutMs',
] as const;

/** Checks hub options and fills them, from the environment where they are silent. */
export function requireHubOptions(action: string, options: HubOptions | undefined): HubSettings {
  const given = requireOptions<HubOptions>(action, options, KNOWN);
  const { env } = process;
  const endpoint = given.endpoint ?? (env.HF_ENDPOINT || 'https://huggingface.co');
  if (given.endpoint !== undefined) {
    const url = URL.canParse(requireString(action, 'hub.endpoint', endpoint)) ? new URL(endpoint) : undefined;
    if (url === undefined || !/^https?:$/.test(url.protocol)) {
      throw new RangeError(`${action}: hub.endpoint must be an http or https URL, received '${endpoint}'`);
    }
  }
  const offline = given.offline ?? /^(1|on|yes|true)$/i.test(env.HF_HUB_OFFLINE ?? '');
  return Object.freeze({
    endpoint: endpoint.replace(/\/+$/, ''),
    cacheDir: given.cacheDir === undefined ? undefined : requireString(action, 'hub.cacheDir', given.cacheDir),
    accessToken: given.accessToken ?? (env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN || undefined),
    fetch:
      given.fetch === undefined
        ? undefined
        : requireFunction<typeof globalThis.fetch>(action, 'hub.fetch', given.fetch),
    offline: requireBoolean(action, 'hub.offline', offline),
    onProgress:
      given.onProgress === undefined
        ? undefined
        : requireFunction<(progress: HubProgress) => void>(action, 'hub.onProgress', given.onProgress),
    retries: given.retries === undefined ? 4 : requireNonNegativeInteger(action, 'hub.retries', given.retries, 100),
    stallTimeoutMs:
      given.stallTimeoutMs === undefined
        ? 30_000
        : requireMilliseconds(action, 'hub.stallTimeoutMs', given.stallTimeoutMs),
  });
}
