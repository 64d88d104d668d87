/** What an error of the pool means for a request. */
import { isMillraceError } from '../core/index.js';
import { Refusal, type RefusalKind } from './http/refusal.js';
import { ClientGoneError } from './http/serve-request.js';

/** The kinds of errors by their codes; what is not here is the server's or the model's failure. */
const KINDS: Readonly<Record<string, RefusalKind>> = {
  ERR_POOL_OVERLOADED: 'overloaded',
  ERR_MEMORY_EXHAUSTED: 'overloaded',
  ERR_POOL_CLOSED: 'closing',
  ERR_WORKER_CLOSED: 'closing',
  ERR_DEADLINE_EXCEEDED: 'timeout',
  // Another server's failure, found out for a URL of the client's.
  ERR_URL_FETCH: 'invalid',
};

/** Errors about an input. Others of the caller's are the server's to a client: a model that is not found, say, whose folder is not to be told. */
const INPUT = /^ERR_(?:IMAGE|URL|BASE64|WORD|BAD_INPUT)/;
/** A client that reads `model_not_found` takes the name in its request for wrong. */
const MODEL_MISSING = 'model_unavailable';

/** Errors whose messages quote words, URLs or base64. */
const QUOTING = /^(word|url|base64)_/;

/**
 * The refusal that an error becomes. What went wrong inside keeps its message for the operator, as `cause`: it may name files of this machine.
 *
 * @param param The part of the request that it concerns.
 */
export function refusalOf(error: unknown, param?: string): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof ClientGoneError) return new Refusal('gone', error.message);
  if (!isMillraceError(error)) {
    return new Refusal('failed', 'The request could not be answered', { code: 'internal_error', cause: error });
  }
  const kind = KINDS[error.code] ?? (INPUT.test(error.code) && error.fault === 'caller' ? 'invalid' : 'failed');
  if (error.code === 'ERR_MODEL_NO_TEXT') return textRefusal(param, error);
  const code = error.code.replace(/^ERR_/, '').toLowerCase();
  const { retryAfterMs } = error as { readonly retryAfterMs?: number };
  switch (kind) {
    case 'failed':
      return new Refusal('failed', 'The model could not answer the request', {
        code: code === 'model_not_found' ? MODEL_MISSING : code,
        retryAfterMs,
        cause: error,
      });
    case 'timeout':
      return new Refusal('timeout', 'The request was not answered in time', { code, cause: error });
    case 'overloaded':
      return new Refusal('overloaded', 'The server has more to do than it can answer in time', {
        code: 'overloaded',
        retryAfterMs: retryAfterMs ?? 1_000,
        cause: error,
      });
    case 'closing':
      return new Refusal('closing', 'The server is shutting down', { cause: error });
    default:
      return new Refusal(kind, error.message, { param, code, isQuoting: QUOTING.test(code), cause: error });
  }
}

/** The model has no text tower: what the client can send instead. */
function textRefusal(param: string | undefined, cause: unknown): Refusal {
  return new Refusal(
    'unsupported',
    `${param === undefined ? '' : `${param}: `}the model embeds pictures only, send each as a data URL (data:image/jpeg;base64,...)`,
    { param, code: 'text_unsupported', cause },
  );
}
