/** The application: routes of all protocols on one Hono app, and what is done for every request. Loaded with the packages it needs. */
import { getRequestListener } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { type Context, Hono } from 'hono';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { refusalOf } from './failures.js';
import { type Answer, jsonAnswer, toResponse, writeAnswer } from './http/answer.js';
import { isCrossOrigin, isKnownHost } from './http/host-check.js';
import { ApiKeys } from './http/keys.js';
import { Refusal } from './http/refusal.js';
import { type NodeBindings, ServeRequest } from './http/serve-request.js';
import { ServeMetrics } from './metrics.js';
import { describeApi } from './openapi.js';
import type { ServeSettings } from './options.js';
import { cohere } from './protocols/cohere.js';
import { immich } from './protocols/immich.js';
import { ollama } from './protocols/ollama.js';
import { openai } from './protocols/openai.js';
import { operations } from './protocols/operations.js';
import type { Protocol, Route } from './protocols/route.js';
import { tei } from './protocols/tei.js';
import { voyage } from './protocols/voyage.js';
import { weaviate } from './protocols/weaviate.js';
import type { ServePool } from './serve-pool.js';
import { EmbeddingService } from './service.js';
import { createSearchPage, type SearchPage } from './search-page/search-page.js';
import { createDashboard, type Dashboard } from './ui/dashboard.js';

const EMBEDDING = { openai, tei, cohere, voyage, ollama, immich, weaviate };

/** What Node hands over, and whether the answer is written past the web's `Response`. */
interface Bindings extends Partial<NodeBindings> {
  readonly isListening?: boolean;
}

type AppContext = Context<{ Bindings: Bindings }>;

/** The routes, and the way of a request through them. */
export class ServeApplication {
  readonly service: EmbeddingService;
  readonly listener: (incoming: IncomingMessage, outgoing: ServerResponse) => void;
  readonly #metrics: ServeMetrics;
  readonly #settings: ServeSettings;
  readonly #keys: ApiKeys;
  readonly #hono = new Hono<{ Bindings: Bindings }>({ strict: false });
  readonly #dashboard: Dashboard | undefined;
  readonly #search: SearchPage | undefined;
  /** Requests for work that are not answered. */
  #underWay = 0;
  #onQuiet: (() => void) | undefined;

  constructor(pool: ServePool, settings: ServeSettings) {
    this.#settings = settings;
    this.#keys = new ApiKeys(settings.apiKeys);
    this.service = new EmbeddingService(pool, settings);
    this.#metrics = new ServeMetrics(this.service.admission, this.service.bodies);
    const served: Protocol[] = settings.protocols.map((name) => EMBEDDING[name]);
    const describe = (): object =>
      describeApi(served, settings.version, (route, protocol) => this.#needsKey(route, protocol));
    served.push(operations(this.#metrics, describe));
    this.#dashboard = settings.ui ? createDashboard(this.service, this.#keys) : undefined;
    if (this.#dashboard !== undefined) served.push(this.#dashboard.protocol);
    const { index } = settings;
    this.#search = index === undefined ? undefined : createSearchPage(this.service, this.#keys, index);
    if (this.#search !== undefined) served.push(this.#search.protocol);
    for (const protocol of served) {
      for (const route of protocol.routes) {
        this.#hono.on(route.method, honoPath(route.path), (context) => this.#answer(context, protocol, route));
      }
    }
    this.#refuseTheRest(served);
    const listener = getRequestListener(
      (request, env) => this.#hono.fetch(request, { ...(env as NodeBindings), isListening: true }),
      { overrideGlobalObjects: false, autoCleanupIncoming: false },
    );
    this.listener = (incoming, outgoing) => void listener(incoming, outgoing);
  }

  /** How many requests for work are being answered. */
  get underWay(): number {
    return this.#underWay;
  }

  /** Answers a request of the web. */
  async fetch(request: Request, env?: unknown): Promise<Response> {
    const { incoming, outgoing } = (env ?? {}) as Bindings;
    const isNode = typeof incoming?.readableDidRead === 'boolean' && typeof outgoing?.once === 'function';
    return await this.#hono.fetch(request, isNode ? { incoming, outgoing } : {});
  }

  /** Refuses new work, and resolves once what was let in is answered. */
  async drain(): Promise<void> {
    this.service.beginClosing();
    // A stream that is open for good would hold up the end.
    await this.#dashboard?.close();
    if (this.#underWay === 0) return;
    await new Promise<void>((resolve) => {
      this.#onQuiet = resolve;
    });
  }

  /** Ends what the application has started. */
  async close(): Promise<void> {
    await this.#dashboard?.close();
    await this.#search?.close();
    await this.service.close();
  }

  async #answer(context: AppContext, protocol: Protocol, route: Route): Promise<Response> {
    const started = performance.now();
    const { service } = this;
    const node = nodeBindings(context);
    const share = service.bodies.open();
    const { maxBodyBytes, bodyTimeoutMs } = this.#settings;
    const rules = { maxBodyBytes, bodyTimeoutMs, retryAfterMs: () => service.admission.retryAfterMs };
    const request = new ServeRequest(context.req.raw, node, share, rules);
    if (route.isWork) this.#underWay++;
    let refusal: Refusal | undefined;
    let answer: Answer;
    try {
      this.#requireAccess(request, protocol, route);
      if (route.isWork && service.isClosing) throw new Refusal('closing', 'The server is shutting down');
      answer = await route.handle(request, service);
    } catch (error) {
      refusal = request.signal.aborted ? new Refusal('gone', 'The client has left') : refusalOf(error);
      answer = refusalAnswer(refusal, protocol);
    } finally {
      share.release();
    }
    const isLast = service.isClosing || refusal?.kind === 'too-slow';
    const full: Answer = {
      ...answer,
      headers: {
        ...answer.headers,
        'x-request-id': request.id,
        'x-content-type-options': 'nosniff',
        ...(isLast ? { connection: 'close' } : {}),
      },
    };
    this.#record(request, { protocol: protocol.name, route: route.path }, full.status, started, refusal);
    const isDirect = node !== undefined && context.env.isListening === true;
    if (!isDirect) {
      this.#settle(route);
      return toResponse(full, request.method === 'HEAD');
    }
    void writeAnswer(node.outgoing, full)
      .catch(() => node.outgoing.destroy())
      .finally(() => this.#settle(route));
    return RESPONSE_ALREADY_SENT;
  }

  #settle(route: Route): void {
    if (!route.isWork) return;
    this.#underWay--;
    if (this.#underWay === 0) this.#onQuiet?.();
  }

  #record(
    request: ServeRequest,
    labels: { readonly protocol: string; readonly route: string },
    status: number,
    started: number,
    refusal: Refusal | undefined,
  ): void {
    const durationMs = performance.now() - started;
    this.#metrics.count(labels, status, durationMs / 1_000);
    this.service.tellRequest({
      id: request.id,
      method: request.method,
      ...labels,
      status,
      durationMs,
      code: refusal?.code,
      message: refusal?.isQuoting ? undefined : refusal?.message,
      error: refusal?.isFault ? (refusal.cause ?? refusal) : undefined,
    });
  }

  #requireAccess(request: ServeRequest, protocol: Protocol, route: Route): void {
    const header = (name: string): string | undefined => request.header(name);
    if (
      route.isPage &&
      (!isKnownHost(header('host'), this.#settings.allowedHosts) || isCrossOrigin(request.method, header))
    ) {
      const message = 'The page is not shown under this host name, nor to other pages: allowedHosts adds a name';
      throw new Refusal('forbidden', message, { code: 'host_forbidden' });
    }
    if (route.access === 'action' && !this.#keys.isRequired) {
      throw new Refusal('forbidden', 'Actions need a server with API keys', { code: 'actions_need_keys' });
    }
    if (this.#needsKey(route, protocol) && !this.#keys.allows(header)) {
      throw new Refusal('unauthorized', 'A valid API key is needed', { code: 'invalid_api_key' });
    }
  }

  #needsKey({ access }: Route, { name }: Protocol): boolean {
    if (access === 'open' || !this.#keys.isRequired) return false;
    return access === 'action' || !(this.#settings.openProtocols as readonly string[]).includes(name);
  }

  /** A known path with another method, and an unknown path. */
  #refuseTheRest(served: readonly Protocol[]): void {
    const methods = new Map<string, { readonly protocol: Protocol; readonly allowed: Set<string> }>();
    for (const protocol of served) {
      for (const { path, method } of protocol.routes) {
        const entry = methods.get(path) ?? { protocol, allowed: new Set<string>() };
        entry.allowed.add(method);
        if (method === 'GET') entry.allowed.add('HEAD');
        methods.set(path, entry);
      }
    }
    for (const [path, { protocol, allowed }] of methods) {
      const allow = [...allowed].join(', ');
      const refusal = new Refusal('method-unknown', `This path takes ${allow}`, { code: 'method_not_allowed' });
      const route = refusing(path, protocol, refusal, { allow });
      this.#hono.all(honoPath(path), (context) => this.#answer(context, protocol, route));
    }
    const unknown: Protocol = { name: 'none', routes: [], refuse: openai.refuse };
    const route = refusing('*', unknown, new Refusal('route-unknown', 'Nothing is served at this path'));
    this.#hono.notFound((context) => this.#answer(context as AppContext, unknown, route));
  }
}

/** A route that answers with a refusal. */
function refusing(path: string, protocol: Protocol, refusal: Refusal, headers: Record<string, string> = {}): Route {
  return {
    method: 'GET',
    path,
    summary: '',
    access: 'open',
    isWork: false,
    response: {},
    handle: () => {
      const answer = refusalAnswer(refusal, protocol);
      return { ...answer, headers: { ...answer.headers, ...headers } };
    },
  };
}

function honoPath(path: string): string {
  return path.replace(/\{(\w+)\}/g, ':$1{.+}');
}

function nodeBindings({ env }: AppContext): NodeBindings | undefined {
  const { incoming, outgoing } = env ?? {};
  return incoming === undefined || outgoing === undefined ? undefined : { incoming, outgoing };
}

/** A refusal in the words of a protocol. */
function refusalAnswer(refusal: Refusal, protocol: Protocol): Answer {
  const { status = refusal.status, body } = protocol.refuse(refusal);
  const { kind, retryAfterMs } = refusal;
  const headers: Record<string, string> = {};
  if (retryAfterMs !== undefined) {
    headers['retry-after'] = String(Math.max(1, Math.ceil(retryAfterMs / 1_000)));
    headers['retry-after-ms'] = String(Math.ceil(retryAfterMs));
  }
  if (kind === 'unauthorized') headers['www-authenticate'] = 'Bearer realm="millrace"';
  return jsonAnswer(body, status, headers);
}
