/**
 * A JSON body as handlers see it. Its pictures are taken out of it where it was parsed, so that a body of many megabytes crosses from the parsing
 * thread as its small rest and a list of buffers.
 *
 * A picture that was taken out leaves a placeholder: `data:image/`, a random word that no client knows, its kind and its place in the list. So schemas
 * and handlers see a string in every case.
 */
import { decodeBase64 } from './base64.js';

/** What a body was parsed to. */
export interface ParsedJson {
  readonly value: unknown;
  readonly pictures: readonly Uint8Array[];
}

/** A parsed body, or why it is refused. */
export type JsonReply =
  | (ParsedJson & { readonly kind: 'parsed' })
  | { readonly kind: 'refused'; readonly message: string; readonly isComplex: boolean };

/** The most values of a body, its greatest depth, and the most characters of its strings that are no pictures: more would block the event loop. */
export const MAX_VALUES = 20_000;
export const MAX_DEPTH = 64;
export const MAX_CHARACTERS = 4_000_000;

/** Strings from this length on are taken out when they are pictures. */
const LONG = 4_096;

const DATA_URL = /^data:[\w.+-]+\/[\w.+-]+(?:;[\w.+-]+=[\w.+-]+)*;base64,/i;
/** No text of this length lacks every space. */
const BARE_BASE64 = /^[\w+/=\r\n-]+$/;

/** Why a body is refused although it is JSON. */
class JsonTooComplexError extends Error {}

const decoder = new TextDecoder('utf-8', { fatal: true });

/** Parses a body and takes its pictures out. */
export function parseBody(body: Uint8Array, word: string): JsonReply {
  try {
    return { kind: 'parsed', ...parseJson(decoder.decode(body), word) };
  } catch (error) {
    // V8 quotes the body around a fault: a client knows what it sent, and logs need not.
    const [message = ''] = (error as Error).message.split(/, "|, \.\.\."/, 1);
    return { kind: 'refused', message, isComplex: error instanceof JsonTooComplexError };
  }
}

function parseJson(text: string, word: string): ParsedJson {
  const pictures: Uint8Array[] = [];
  let values = 0;
  let characters = 0;
  const takeOut = (value: string): string => {
    const prefix = value.length < LONG ? undefined : DATA_URL.exec(value)?.[0];
    const isCandidate = prefix !== undefined || (value.length >= LONG && BARE_BASE64.test(value));
    const bytes = isCandidate ? decodeBase64(value.slice(prefix?.length ?? 0)) : undefined;
    if (bytes !== undefined) {
      pictures.push(bytes);
      return placeholder(word, { index: pictures.length - 1, isDataUrl: prefix !== undefined });
    }
    characters += value.length;
    if (characters <= MAX_CHARACTERS) return value;
    throw new JsonTooComplexError(`at most ${MAX_CHARACTERS} characters are allowed beside pictures`);
  };
  const visit = (value: unknown, depth: number): unknown => {
    if (++values > MAX_VALUES) {
      throw new JsonTooComplexError(
        `at most ${MAX_VALUES} values are allowed; texts are sent as they are, not as token ids`,
      );
    }
    if (depth > MAX_DEPTH) throw new JsonTooComplexError(`values may be nested ${MAX_DEPTH} deep`);
    if (typeof value === 'string') return takeOut(value);
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) {
      for (let index = 0; index < value.length; index++) value[index] = visit(value[index], depth + 1);
      return value;
    }
    const record = value as Record<string, unknown>;
    for (const key of Object.keys(record)) {
      const before = record[key];
      const after = visit(before, depth + 1);
      // Written only where it changed: an own `__proto__` of a body is left alone.
      if (after !== before) record[key] = after;
    }
    return record;
  };
  return { value: visit(JSON.parse(text), 0), pictures };
}

/** What a placeholder says. */
interface Place {
  readonly index: number;
  /** False for bare base64. */
  readonly isDataUrl: boolean;
}

function placeholder(word: string, { index, isDataUrl }: Place): string {
  return `data:image/${word};${isDataUrl ? 'url' : 'bare'};${index}`;
}

/** The place of a picture in the list; undefined for a string that is no placeholder. */
export function placeOf(text: string, word: string): Place | undefined {
  const start = `data:image/${word};`;
  if (!text.startsWith(start)) return undefined;
  const [kind, index] = text.slice(start.length).split(';');
  return { index: Number(index), isDataUrl: kind === 'url' };
}
