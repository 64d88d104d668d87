/** How models are brought from the Hugging Face hub. */

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import {
  requireBoolean,
  requireFunction,
  requireMilliseconds,
  requireNonNegativeInteger,
  requireOptions,
  requireString,
} from '../../core/index.js';
import { homeFolder } from '../file-system.js';

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

/** The folder of the hub's own settings and cache; undefined without a home. */
function hubHome(): string | undefined {
  const { HF_HOME, XDG_CACHE_HOME } = process.env;
  if (HF_HOME) return expand(HF_HOME);
  if (XDG_CACHE_HOME) return path.join(expand(XDG_CACHE_HOME), 'huggingface');
  const home = homeFolder();
  return home === undefined ? undefined : path.join(home, '.cache', 'huggingface');
}

/** Where models from the hub are kept: the folder that every Hugging Face library shares. Undefined without a home, when no variable names one. */
export function hubCacheFolder(): string | undefined {
  const { HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE } = process.env;
  const named = HF_HUB_CACHE || HUGGINGFACE_HUB_CACHE;
  if (named) return expand(named);
  const home = hubHome();
  return home === undefined ? undefined : path.join(home, 'hub');
}

/** The token that `hf auth login` stored, unless the environment says that it is not to be sent. */
export async function storedToken(): Promise<string | undefined> {
  const { HF_TOKEN_PATH, HF_HUB_DISABLE_IMPLICIT_TOKEN } = process.env;
  if (/^(?:1|on|yes|true)$/i.test(HF_HUB_DISABLE_IMPLICIT_TOKEN ?? '')) return undefined;
  const home = hubHome();
  const file = HF_TOKEN_PATH ? expand(HF_TOKEN_PATH) : home === undefined ? undefined : path.join(home, 'token');
  if (file === undefined) return undefined;
  const text = await readFile(file, 'utf8').catch(() => '');
  return text.replace(/[\r\n]/g, '').trim() || undefined;
}

/** The name of a proxy variable that is set and that Node does not use; undefined when there is none. */
export function unusedProxy(): string | undefined {
  const { env, execArgv } = process;
  if (env.NODE_USE_ENV_PROXY === '1' || execArgv.includes('--use-env-proxy')) return undefined;
  return ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'all_proxy'].find((name) => env[name]);
}

/** A shell expands these; a `.env` file or a Dockerfile does not. */
function expand(folder: string): string {
  const text = folder.replace(/\$(?:(\w+)|\{(\w+)\})/g, (whole, plain?: string, braced?: string) => {
    return process.env[plain ?? braced ?? ''] ?? whole;
  });
  const home = /^~(?=$|[\\/])/.test(text) ? homeFolder() : undefined;
  return home === undefined ? text : path.join(home, text.slice(1));
}
