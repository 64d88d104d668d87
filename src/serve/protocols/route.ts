/** What a protocol is made of: routes that the server, the OpenAPI document and the metrics are made from. */
import type { GenericSchema } from 'valibot';
import type { Answer } from '../http/answer.js';
import type { Refusal } from '../http/refusal.js';
import type { ServeRequest } from '../http/serve-request.js';
import type { EmbeddingService } from '../service.js';

/** A body that a route takes or answers with. */
export interface BodySpec {
  /** `application/json` by default. */
  readonly contentType?: string;
  /** Bodies that are no JSON may have none. */
  readonly schema?: GenericSchema;
  /** One that works as it stands; the tests send it. */
  readonly example?: unknown;
}

/** One method of one path. */
export interface Route {
  readonly method: 'GET' | 'POST';
  /** A part in braces, as in `/v1/models/{id}`, takes the rest of the path. */
  readonly path: string;
  /** One line on what it does. */
  readonly summary: string;
  /** `key`: needs one where the server has keys. `open`: never does. `action`: always does, and is refused where the server has none. */
  readonly access: 'key' | 'open' | 'action';
  /** Whether a browser shows it: such a route is answered under a known host name only, and not for pages of other origins. */
  readonly isPage?: boolean;
  /** Whether it is refused with 503 while the server shuts down. */
  readonly isWork: boolean;
  readonly request?: BodySpec;
  readonly response: BodySpec;
  readonly handle: (request: ServeRequest, service: EmbeddingService) => Answer | Promise<Answer>;
}

/** How a protocol says that a request is refused. */
export interface RefusalBody {
  /** That of the refusal by default. */
  readonly status?: number;
  readonly body: unknown;
}

/** A protocol: its routes, and its words for a refusal. */
export interface Protocol {
  readonly name: string;
  readonly routes: readonly Route[];
  readonly refuse: (refusal: Refusal) => RefusalBody;
}
