/** How models are brought from the Hugging Face hub. */

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import {
  faultOf,
  fillOptions,
  nonNegativeIntegerUpTo,
  type OptionTable,
  option,
  requireBoolean,
  requireFunction,
  requireMilliseconds,
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

/** Hub options, checked and filled. An endpoint from the environment is checked when the hub is asked. */
export type HubSettings = { readonly [K in keyof Required<HubOptions>]: HubOptions[K] } & {
  readonly endpoint: string;
  readonly offline: boolean;
  readonly retries: number;
  readonly stallTimeoutMs: number;
};

/** The option table of downloads. */
export const HUB_OPTIONS: OptionTable<HubOptions> = {
  endpoint: option(requireEndpoint),
  cacheDir: option((action, name, value) => path.resolve(requireString(action, name, value))),
  accessToken: option((action, name, value) => {
    if (typeof value !== 'string') throw faultOf(action, name, 'a string', value);
    return value;
  }),
  fetch: option(requireFunction<typeof globalThis.fetch>),
  offline: option(requireBoolean),
  onProgress: option(requireFunction<(progress: HubProgress) => void>),
  retries: option(nonNegativeIntegerUpTo(100), 4),
  stallTimeoutMs: option(requireMilliseconds, 30_000),
};

/** Checks hub options and completes them. */
export function requireHubOptions(action: string, options: HubOptions | undefined): HubSettings {
  return withEnvironment(fillOptions(action, options, HUB_OPTIONS, 'hub'));
}

/** Completes checked hub options with what the environment says. */
export function withEnvironment(filled: HubOptions): HubSettings {
  const { HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN, HUGGING_FACE_HUB_TOKEN } = process.env;
  return Object.freeze({
    ...filled,
    endpoint: (filled.endpoint ?? (HF_ENDPOINT || 'https://huggingface.co')).replace(/\/+$/, ''),
    accessToken: filled.accessToken ?? (HF_TOKEN || HUGGING_FACE_HUB_TOKEN || undefined),
    offline: filled.offline ?? /^(1|on|yes|true)$/i.test(HF_HUB_OFFLINE ?? ''),
  }) as HubSettings;
}

function requireEndpoint(action: string, name: string, value: unknown): string {
  const endpoint = requireString(action, name, value);
  if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol)) {
    throw new RangeError(`${action}: ${name} must be an http or https URL, received '${endpoint}'`);
  }
  return endpoint;
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
