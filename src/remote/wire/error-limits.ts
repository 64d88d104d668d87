import { RemoteProtocolError } from '../errors.js';
import type { EncodedError } from '../../worker/internal.js';

// An error leaves its machine without stacks, which tell of its files, and without properties that make it large. It comes in only in the shape that
// `decodeError` takes for granted.

const MAX_TEXT = 8_192;
const MAX_PROPERTIES_BYTES = 8_192;
const MAX_ERRORS = 16;
const MAX_DEPTH = 8;
const MAX_NAMES = 16;

/** The part of an encoded error that crosses to another machine. */
export function sendableError(error: EncodedError): EncodedError {
  if (error.kind === 'value') return { kind: 'value', value: capped(error.value) };
  const common = {
    name: shortened(error.name),
    message: shortened(error.message),
    stack: undefined,
    properties: cappedProperties(error.properties),
    ...(error.cause === undefined ? {} : { cause: sendableError(error.cause) }),
  };
  if (error.kind === 'dom-exception') return { kind: 'dom-exception', ...common };
  return {
    kind: 'error',
    classes: error.classes.slice(0, MAX_NAMES).map(shortened),
    millrace: error.millrace,
    ...common,
    ...(error.errors === undefined ? {} : { errors: error.errors.slice(0, MAX_ERRORS).map(sendableError) }),
    ...(error.nested === undefined
      ? {}
      : {
          nested: Object.fromEntries(
            Object.entries(error.nested)
              .slice(0, MAX_ERRORS)
              .map(([name, each]) => [name, sendableError(each)]),
          ),
        }),
  };
}

/**
 * What came in, once it is seen to be an encoded error.
 *
 * @throws RemoteProtocolError When it is none.
 */
export function readableError(value: unknown, depth: number = 0): EncodedError {
  const error = value as Record<keyof Extract<EncodedError, { kind: 'error' }> | 'value', unknown>;
  if (!isRecord(error) || depth > MAX_DEPTH) throw noError();
  if (error.kind === 'value') return { kind: 'value', value: error.value };
  const { name, message, properties, cause, classes, errors, nested } = error;
  if (typeof name !== 'string' || typeof message !== 'string' || !isRecord(properties)) throw noError();
  const common = {
    name,
    message,
    stack: `${name}: ${message}\n    at another machine`,
    properties: properties as Record<string, unknown>,
    ...(cause === undefined ? {} : { cause: readableError(cause, depth + 1) }),
  };
  if (error.kind === 'dom-exception') return { kind: 'dom-exception', ...common };
  if (error.kind !== 'error' || !isTexts(classes)) throw noError();
  if (errors !== undefined && !Array.isArray(errors)) throw noError();
  if (nested !== undefined && !isRecord(nested)) throw noError();
  return {
    kind: 'error',
    classes,
    millrace: error.millrace === true,
    ...common,
    ...(errors === undefined ? {} : { errors: errors.map((each) => readableError(each, depth + 1)) }),
    ...(nested === undefined
      ? {}
      : {
          nested: Object.fromEntries(
            Object.entries(nested).map(([key, each]) => [key, readableError(each, depth + 1)]),
          ),
        }),
  };
}

function cappedProperties(properties: Readonly<Record<string, unknown>>): Record<string, unknown> {
  let left = MAX_PROPERTIES_BYTES;
  const kept: [string, unknown][] = [];
  // What tells failures apart comes first.
  const keys = Object.keys(properties).sort((a, b) => rank(a) - rank(b));
  for (const key of keys) {
    const value = properties[key];
    const bytes = key.length + sizeOf(value, left);
    if (bytes > left || key === '__proto__') continue;
    left -= bytes;
    kept.push([key, value]);
  }
  return Object.fromEntries(kept);
}

function rank(key: string): number {
  return key === 'code' || key === 'fault' ? 0 : 1;
}

function capped(value: unknown): unknown {
  return sizeOf(value, MAX_PROPERTIES_BYTES) <= MAX_PROPERTIES_BYTES ? value : shortened(String(value));
}

/** Roughly how many bytes a value takes; it stops counting above `limit`. */
function sizeOf(value: unknown, limit: number): number {
  if (typeof value === 'string') return 2 * value.length;
  if (typeof value !== 'object' || value === null) return 8;
  if (ArrayBuffer.isView(value)) return value.byteLength;
  if (value instanceof ArrayBuffer) return value.byteLength;
  let bytes = 8;
  const parts =
    value instanceof Map ? [...value].flat(1) : value instanceof Set ? [...value] : Object.entries(value).flat(1);
  for (const each of parts) {
    bytes += sizeOf(each, limit - bytes);
    if (bytes > limit) break;
  }
  return bytes;
}

function shortened(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT)}… (${text.length - MAX_TEXT} more characters)`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.length <= MAX_NAMES && value.every((each) => typeof each === 'string');
}

function noError(): RemoteProtocolError {
  return new RemoteProtocolError('Cannot read message: an error was expected');
}
