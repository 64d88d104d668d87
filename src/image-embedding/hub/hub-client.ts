/**
 * Requests to the hub: one policy for all of them. What may pass (the network, 408, 429, 5xx) is tried again after a pause, which is as long as the
 * server asks for, up to {@link LONGEST_PAUSE_MS}.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { isError } from '../../core/index.js';
import { ModelDownloadError } from '../model/model-errors.js';
import { type HubSettings, storedToken, unusedProxy } from './hub-options.js';

/** What passes as the function of that name. */
export type Fetch = typeof globalThis.fetch;

const FIRST_PAUSE_MS = 200;
/** A server that asks for longer is not waited for. */
const LONGEST_PAUSE_MS = 60_000;

/** A failure that another try may not meet. */
export class PassingError extends Error {
  /** How long the server asks to wait, in ms. */
  readonly pauseMs: number | undefined;

  constructor(message: string, options: { readonly cause?: unknown; readonly pauseMs?: number | undefined } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.pauseMs = options.pauseMs;
  }
}

/** A hub, asked in the name of one model. */
export class HubClient {
  readonly endpoint: string;
  readonly stallTimeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly #fetch: Fetch;
  readonly #hasOwnFetch: boolean;
  readonly #token: string | undefined;
  readonly #retries: number;

  private constructor(
    settings: HubSettings,
    endpoint: string,
    token: string | undefined,
    signal: AbortSignal | undefined,
    retries: number,
  ) {
    this.endpoint = endpoint;
    this.stallTimeoutMs = settings.stallTimeoutMs;
    this.signal = signal;
    this.#fetch = settings.fetch ?? globalThis.fetch;
    this.#hasOwnFetch = settings.fetch !== undefined;
    this.#token = token;
    this.#retries = retries;
  }

  /**
   * @param retries How often is tried again, where it differs from the settings.
   * @throws ModelDownloadError When the endpoint is none.
   */
  static async create(settings: HubSettings, signal: AbortSignal | undefined, retries?: number): Promise<HubClient> {
    const { endpoint } = settings;
    if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol)) {
      throw new ModelDownloadError(
        `Cannot download model: HF_ENDPOINT must be an http or https URL, received '${endpoint}'`,
      );
    }
    const token = settings.accessToken ?? (await storedToken());
    return new HubClient(settings, endpoint, token || undefined, signal, retries ?? settings.retries);
  }

  /** One request, with the token. No answer, or a temporary failure, is a {@link PassingError}. */
  async send(input: Parameters<Fetch>[0], init: Parameters<Fetch>[1], signal: AbortSignal): Promise<Response> {
    const headers = new Headers(init?.headers);
    // Only for the hub itself; and fetch drops it when it is redirected to another origin.
    const target = new URL(input instanceof Request ? input.url : input);
    if (this.#token !== undefined && target.origin === new URL(this.endpoint).origin)
      headers.set('authorization', `Bearer ${this.#token}`);
    let response: Response;
    try {
      response = await this.#fetch(input, { ...init, headers, signal });
    } catch (cause) {
      if (signal.aborted) throw signal.reason;
      throw this.noAnswer(cause);
    }
    const { status } = response;
    if (status < 500 && status !== 429 && status !== 408) return response;
    const pauseMs = pauseOf(response.headers);
    await response.body?.cancel().catch(() => undefined);
    const asked = pauseMs === undefined ? '' : `, and asked to wait ${Math.ceil(pauseMs / 1000)} s`;
    const advice = status === 429 && this.#token === undefined ? ' (an access token, HF_TOKEN, raises the limit)' : '';
    throw new PassingError(`the hub answered ${status}${asked}${advice}`, { pauseMs });
  }

  /** The error for a network that failed, with what is known of why. */
  noAnswer(cause: unknown): PassingError {
    const proxy = this.#hasOwnFetch ? undefined : unusedProxy();
    const advice =
      proxy === undefined
        ? ''
        : `; ${proxy} is set, which Node uses only with NODE_USE_ENV_PROXY=1 (from Node 22.21 and 24 on): see the option hub.fetch`;
    return new PassingError(`the hub could not be reached (${reasonOf(cause)})${advice}`, { cause });
  }

  /** Asks something, with one try's patience for each try. */
  readonly ask: Fetch = (input, init) =>
    this.retry(async () => {
      const patience = AbortSignal.timeout(Math.min(this.stallTimeoutMs, 2 ** 31 - 1));
      const signal = this.signal === undefined ? patience : AbortSignal.any([this.signal, patience]);
      try {
        return await this.send(input, init, signal);
      } catch (error) {
        this.signal?.throwIfAborted();
        if (patience.aborted) throw new PassingError(`the hub gave no answer for ${this.stallTimeoutMs} ms`);
        throw error;
      }
    });

  /** Runs something, and again as long as it fails in a way that may pass. */
  async retry<T>(run: () => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt += 1) {
      this.signal?.throwIfAborted();
      try {
        return await run();
      } catch (error) {
        this.signal?.throwIfAborted();
        if (!(error instanceof PassingError) || attempt >= this.#retries) throw error;
        const { pauseMs = 0 } = error;
        if (pauseMs > LONGEST_PAUSE_MS) throw error;
        const pause = Math.max(pauseMs, FIRST_PAUSE_MS * 2 ** attempt);
        await delay(pause, undefined, this.signal === undefined ? {} : { signal: this.signal }).catch(() => undefined);
      }
    }
  }
}

/** How long a server asks to wait: `Retry-After` in seconds or as a date, or the time left of the hub's own `RateLimit`. */
function pauseOf(headers: Headers): number | undefined {
  const after = headers.get('retry-after')?.trim();
  const seconds = /^\d+(?:\.\d+)?$/.test(after ?? '')
    ? Number(after)
    : after === undefined
      ? Number(/(?:^|[;,\s])t=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1] ?? Number.NaN)
      : (Date.parse(after) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds * 1000) : undefined;
}

/** The first line of the innermost cause: `fetch` itself says only that it failed. */
export function reasonOf(error: unknown): string {
  let inner: unknown = error;
  for (let depth = 0; depth < 10; depth++) {
    const next = inner instanceof AggregateError ? inner.errors[0] : (inner as { cause?: unknown } | null)?.cause;
    if (next === undefined || next === null) break;
    inner = next;
  }
  const text = isError(inner) ? inner.message || (inner as NodeJS.ErrnoException).code || inner.name : inner;
  return String(text).split('\n', 1)[0] as string;
}
