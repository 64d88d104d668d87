/** Why a request is not answered with what it asked for; each protocol says it in its own words. */

/** What kind of refusal it is: protocols choose their status codes and types by it. */
export type RefusalKind =
  | 'invalid'
  | 'empty'
  | 'unsupported'
  | 'forbidden'
  | 'unauthorized'
  | 'model-unknown'
  | 'route-unknown'
  | 'method-unknown'
  | 'too-large'
  | 'too-slow'
  | 'overloaded'
  | 'closing'
  | 'timeout'
  | 'gone'
  | 'failed';

/** The status that each kind has unless a protocol says otherwise. */
export const STATUS: Readonly<Record<RefusalKind, number>> = {
  invalid: 400,
  empty: 400,
  unsupported: 400,
  forbidden: 403,
  unauthorized: 401,
  'model-unknown': 404,
  'route-unknown': 404,
  'method-unknown': 405,
  'too-large': 413,
  'too-slow': 408,
  overloaded: 429,
  closing: 503,
  timeout: 504,
  gone: 499,
  failed: 500,
};

/** What a {@link Refusal} carries beside its message. */
export interface RefusalDetails {
  /** The part of the request that is at fault: `input[7]`. */
  readonly param?: string | undefined;
  /** A stable word for programs: `image_corrupt`. The kind, with underscores, by default. */
  readonly code?: string | undefined;
  /** When a new attempt has a fair chance, in ms from now. */
  readonly retryAfterMs?: number | undefined;
  /** Whether the message quotes an input: it is then for the client alone. False by default. */
  readonly isQuoting?: boolean;
  readonly cause?: unknown;
}

/** A request that is refused, or that failed. The message is meant for the client. */
export class Refusal extends Error {
  readonly kind: RefusalKind;
  readonly code: string;
  readonly param: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly isQuoting: boolean;

  constructor(
    kind: RefusalKind,
    message: string,
    { param, code, retryAfterMs, isQuoting = false, cause }: RefusalDetails = {},
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'Refusal';
    this.kind = kind;
    this.code = code ?? kind.replaceAll('-', '_');
    this.param = param;
    this.retryAfterMs = retryAfterMs;
    this.isQuoting = isQuoting;
  }

  get status(): number {
    return STATUS[this.kind];
  }

  /** Whether the operator should see it: the server or the model is at fault. */
  get isFault(): boolean {
    return this.kind === 'failed' || this.kind === 'timeout';
  }
}
