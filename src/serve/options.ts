/** What a server can be told, checked once. */
import {
  type Check,
  type Filled,
  fillOptions,
  type OptionTable,
  option,
  requireBoolean,
  requireFunction,
  requireMilliseconds,
  requireOneOf,
  requirePositiveInteger,
  requireString,
} from '../core/index.js';
import { ImageIndex } from '../search/index.js';

/** One answered request, for an access log. Never holds inputs or keys. */
export interface AccessEntry {
  readonly id: string;
  readonly method: string;
  /** The route as it is registered; of an unknown one, the path that was asked for, cut to 200 characters. */
  readonly route: string;
  readonly protocol: string;
  readonly status: number;
  readonly durationMs: number;
  /** Why it was not answered with what it asked for: a stable word such as `image_corrupt`. */
  readonly code: string | undefined;
  /** The same in words, as the client was told; it names parts of the request and holds no input. */
  readonly message: string | undefined;
  /** What went wrong inside, where the server or the model is at fault; not told to the client. */
  readonly error: unknown;
}

/** The protocols that a server speaks. */
export type ProtocolName = 'openai' | 'tei' | 'cohere' | 'voyage' | 'ollama' | 'immich' | 'weaviate';

/** Every protocol. */
export const PROTOCOLS: readonly ProtocolName[] = ['openai', 'tei', 'cohere', 'voyage', 'ollama', 'immich', 'weaviate'];

/** Options of {@link createServeApp}. */
export interface ServeOptions {
  /** The name of the pool's own model in requests and answers; `'default'` by default. */
  readonly model?: string | undefined;
  /** Names out of the pool's `models` that are served beside it. */
  readonly models?: readonly string[] | undefined;
  /** Further names of served models: `{ 'jina-clip-v1': 'clip' }`. `'*'` stands for every other name. */
  readonly aliases?: Readonly<Record<string, string>> | undefined;
  /** The protocols; all by default. */
  readonly protocols?: readonly ProtocolName[] | undefined;
  /** Keys of which each request must have one; none by default, which lets every request in. */
  readonly apiKeys?: readonly string[] | undefined;
  /** Protocols that need no key, for clients that can send none: Immich and Weaviate. */
  readonly openProtocols?: readonly ProtocolName[] | undefined;
  /** Whether pictures may be URLs, which the pool fetches under its own limits. False by default. */
  readonly allowUrls?: boolean | undefined;
  /** The most bytes of one body; 32,000,000 by default. */
  readonly maxBodyBytes?: number | undefined;
  /** The most bytes of all bodies together; 256,000,000 by default. */
  readonly maxBodiesBytes?: number | undefined;
  /** How long a body may take to arrive, in ms; 30,000 by default. */
  readonly bodyTimeoutMs?: number | undefined;
  /** How long an answer may take once the body is there, in ms; 30,000 by default. */
  readonly timeoutMs?: number | undefined;
  /** The most pictures of one request; 32 by default. */
  readonly maxPictures?: number | undefined;
  /** The most texts of one request; 512 by default. */
  readonly maxTexts?: number | undefined;
  /** How many images may be under way before requests are refused with 429; four times the pool's `window`, and at least 64, by default. */
  readonly maxUnderWay?: number | undefined;
  /** Where Immich's tasks go that are not served here, such as faces: the URL of its own container. */
  readonly immichFallback?: string | URL | undefined;
  /** Whether the dashboard is served at `/ui/`. False by default. */
  readonly ui?: boolean | undefined;
  /** Whether the dashboard shows the last pictures, 64 pixels wide. False by default. */
  readonly uiThumbnails?: boolean | undefined;
  /** An index whose search page is served at `/search/`: of the model of the pool, and open for as long as the server is. */
  readonly index?: ImageIndex | undefined;
  /** Names of this machine under which browsers may open the dashboard, beside `localhost` and every address. */
  readonly allowedHosts?: readonly string[] | undefined;
  /** Told of each answered request. */
  readonly onAccess?: ((entry: AccessEntry) => void) | undefined;
}

const LEAST_KEY = 8;

function listOf<T>(check: Check<T>): Check<readonly T[]> {
  return (action, name, value) => {
    if (!Array.isArray(value)) throw new TypeError(`${action}: ${name} must be an array`);
    return Object.freeze(value.map((each, index) => check(action, `${name}[${index}]`, each)));
  };
}

const protocolName: Check<ProtocolName> = (action, name, value) => requireOneOf(action, name, value, PROTOCOLS);

/** Never shows the key. */
const apiKey: Check<string> = (action, name, value) => {
  if (typeof value !== 'string') throw new TypeError(`${action}: ${name} must be a string`);
  if (value.length >= LEAST_KEY && /^\S+$/.test(value)) return value;
  throw new RangeError(`${action}: ${name} must have at least ${LEAST_KEY} characters and no space`);
};

const aliasRecord: Check<Readonly<Record<string, string>>> = (action, name, value) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError(`${action}: ${name} must be an object of served models by their aliases`);
  }
  const entries = Object.entries(value).map(([alias, model]) => [alias, requireString(action, name, model)] as const);
  return Object.freeze(Object.fromEntries(entries));
};

const httpUrl: Check<URL> = (action, name, value) => {
  const text = String(value);
  if (/^https?:/i.test(text) && URL.canParse(text)) return new URL(text);
  throw new TypeError(`${action}: ${name} must be a URL of http or https`);
};

const imageIndex: Check<ImageIndex> = (action, name, value) => {
  if (value instanceof ImageIndex) return value;
  throw new TypeError(`${action}: ${name} must be an index that openIndex() has opened`);
};

const hostName: Check<string> = (action, name, value) => requireString(action, name, value).toLowerCase();

const SERVE_OPTIONS = {
  model: option<string>(requireString, 'default'),
  models: option<readonly string[]>(listOf(requireString), []),
  aliases: option(aliasRecord, {}),
  protocols: option(listOf(protocolName), PROTOCOLS),
  apiKeys: option<readonly string[]>(listOf(apiKey), []),
  openProtocols: option<readonly ProtocolName[]>(listOf(protocolName), []),
  allowUrls: option<boolean>(requireBoolean, false),
  maxBodyBytes: option<number>(requirePositiveInteger, 32_000_000),
  maxBodiesBytes: option<number>(requirePositiveInteger, 256_000_000),
  bodyTimeoutMs: option<number>(requireMilliseconds, 30_000),
  timeoutMs: option<number>(requireMilliseconds, 30_000),
  maxPictures: option<number>(requirePositiveInteger, 32),
  maxTexts: option<number>(requirePositiveInteger, 512),
  maxUnderWay: option<number>(requirePositiveInteger),
  immichFallback: option<URL>(httpUrl),
  ui: option<boolean>(requireBoolean, false),
  uiThumbnails: option<boolean>(requireBoolean, false),
  index: option(imageIndex),
  allowedHosts: option<readonly string[]>(listOf(hostName), []),
  onAccess: option(requireFunction<(entry: AccessEntry) => void>),
} satisfies OptionTable<Omit<ServeOptions, 'immichFallback'> & { readonly immichFallback: URL | undefined }>;

/** Options of a server, filled. */
export interface ServeSettings
  extends Omit<Filled<ServeOptions>, 'maxUnderWay' | 'immichFallback' | 'index' | 'onAccess'> {
  readonly maxUnderWay: number | undefined;
  readonly immichFallback: URL | undefined;
  readonly index: ImageIndex | undefined;
  readonly onAccess: ((entry: AccessEntry) => void) | undefined;
  /** Of this package. */
  readonly version: string;
}

/** Checks the options of a server and fills them. */
export function requireServeOptions(options: ServeOptions | undefined, version: string): ServeSettings {
  const action = 'Cannot serve';
  const settings = fillOptions(action, options, SERVE_OPTIONS);
  const { model, models, aliases, maxBodyBytes, maxBodiesBytes } = settings;
  for (const [alias, name] of Object.entries(aliases)) {
    requireOneOf(action, `aliases['${alias}']`, name, [model, ...models]);
  }
  if (maxBodiesBytes < maxBodyBytes) {
    throw new RangeError(`${action}: maxBodiesBytes must be at least maxBodyBytes, received ${maxBodiesBytes}`);
  }
  return Object.freeze({ ...settings, version });
}
