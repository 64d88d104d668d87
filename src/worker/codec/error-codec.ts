import { isDomException, isError, isMillraceError } from '../../core/index.js';
import { type ErrorClass, findErrorClass, RemoteError } from './error-registry.js';
import { plainCopy } from './payload.js';

/** An error, or anything else that was thrown, as plain data that every host can send. */
export type EncodedError =
  | {
      readonly kind: 'error';
      /** Names of its class and the classes above it. */
      readonly classes: readonly string[];
      readonly millrace: boolean;
      readonly name: string;
      readonly message: string;
      readonly stack: string | undefined;
      /** Its own enumerable properties, `code` among them. */
      readonly properties: Readonly<Record<string, unknown>>;
      readonly cause?: EncodedError | undefined;
      readonly errors?: readonly EncodedError[] | undefined;
      /** Its members that are errors, by name. */
      readonly nested?: Readonly<Record<string, EncodedError>> | undefined;
    }
  | {
      readonly kind: 'dom-exception';
      readonly name: string;
      readonly message: string;
      readonly stack: string | undefined;
      /** What was added to it. */
      readonly properties: Readonly<Record<string, unknown>>;
      readonly cause?: EncodedError;
    }
  | { readonly kind: 'value'; readonly value: unknown };

/** How deep causes are followed: a chain may be a ring. */
const MAX_DEPTH = 8;

/** How deep members that are errors are followed: there may be several in each. */
const MAX_NESTED = 2;

/**
 * Turns what was thrown into plain data, which every host can send and read. V8's serialisation alone would keep an error's message and lose its class,
 * `code` and properties. It never throws: what can't be cloned is described in words.
 */
export function encodeError(error: unknown): EncodedError {
  return encode(error, 0);
}

function encode(error: unknown, depth: number): EncodedError {
  try {
    if (isDomException(error)) {
      return {
        kind: 'dom-exception',
        name: error.name,
        message: error.message,
        stack: textOf(error, 'stack'),
        properties: propertiesOf(error),
        ...causeOf(error, depth),
      };
    }
    // The operator first: of a proxy that does not say what it is made after it throws.
    return error instanceof Error || isError(error)
      ? encodeFully(error, depth)
      : { kind: 'value', value: plainCopy(error) };
  } catch {
    // A proxy whose traps throw.
    const message = 'what was thrown could not be looked at';
    return {
      kind: 'error',
      classes: ['Error'],
      millrace: false,
      name: 'Error',
      message,
      stack: undefined,
      properties: {},
    };
  }
}

function propertiesOf(error: Error): Record<string, unknown> {
  const properties: [string, unknown][] = [];
  for (const key of Object.keys(error)) {
    if (key === 'cause' || key === 'errors' || key === 'stack' || key === 'message') continue;
    const value = readSafely(error, key);
    if (!isError(value)) properties.push([key, plainCopy(value)]);
  }
  // What tells failures apart counts wherever a class keeps it: in a getter, or hidden.
  for (const key of ['code', 'fault']) {
    const text = textOf(error, key);
    if (text !== undefined && !properties.some(([each]) => each === key)) properties.push([key, text]);
  }
  return Object.fromEntries(properties);
}

function causeOf(error: Error, depth: number): { readonly cause?: EncodedError } {
  const cause = readSafely(error, 'cause');
  return cause === undefined || depth >= MAX_DEPTH ? {} : { cause: encode(cause, depth + 1) };
}

function encodeFully(error: Error, depth: number): EncodedError {
  const errors = Object.hasOwn(error, 'errors') ? readSafely(error, 'errors') : undefined;
  // Those of a SuppressedError can be read by their names alone.
  const names = new Set([...Object.keys(error), 'error', 'suppressed']);
  names.delete('cause');
  const nested = [...names].map((name) => [name, readSafely(error, name)] as const).filter(([, each]) => isError(each));
  return {
    kind: 'error',
    classes: classNames(error),
    millrace: isMillraceError(error),
    name: textOf(error, 'name') ?? 'Error',
    message: textOf(error, 'message') ?? '',
    stack: textOf(error, 'stack'),
    properties: propertiesOf(error),
    ...causeOf(error, depth),
    ...(!Array.isArray(errors) || depth >= MAX_DEPTH ? {} : { errors: errors.map((each) => encode(each, depth + 1)) }),
    ...(nested.length === 0 || depth >= MAX_NESTED
      ? {}
      : { nested: Object.fromEntries(nested.map(([name, each]) => [name, encode(each, depth + 1)])) }),
  };
}

/** Makes the error again, as an instance of its class where this process knows it. */
export function decodeError(encoded: EncodedError): unknown {
  if (encoded.kind === 'value') return encoded.value;
  if (encoded.kind === 'dom-exception') {
    const exception = new DOMException(encoded.message, encoded.name);
    define(exception, 'stack', encoded.stack);
    addProperties(exception, encoded);
    return exception;
  }
  const found = findErrorClass(encoded.classes);
  // A Millrace error of an unknown class is still one: `isMillraceError(error, code)` holds.
  const errorClass: ErrorClass =
    encoded.millrace && (found === undefined || !isMillracePrototype(found)) ? RemoteError : (found ?? Error);
  const error = new Error(encoded.message);
  Object.setPrototypeOf(error, errorClass.prototype as object);
  if (error.name !== encoded.name) define(error, 'name', encoded.name);
  define(error, 'stack', encoded.stack);
  addProperties(error, encoded);
  if (encoded.errors !== undefined) define(error, 'errors', encoded.errors.map(decodeError));
  for (const [name, each] of Object.entries(encoded.nested ?? {})) define(error, name, decodeError(each));
  return error;
}

function addProperties(error: object, { properties, cause }: Exclude<EncodedError, { readonly kind: 'value' }>): void {
  for (const [key, value] of Object.entries(properties)) {
    if (key === 'name') define(error, key, value);
    else Object.defineProperty(error, key, { value, enumerable: true, configurable: true, writable: true });
  }
  if (cause !== undefined) define(error, 'cause', decodeError(cause));
}

function isMillracePrototype(errorClass: ErrorClass): boolean {
  return isMillraceError(Object.create(errorClass.prototype as object));
}

function classNames(error: Error): string[] {
  const names: string[] = [];
  for (
    let each = Object.getPrototypeOf(error);
    each !== null && each !== Object.prototype;
    each = Object.getPrototypeOf(each)
  ) {
    const name = (each as { constructor?: { name?: unknown } }).constructor?.name;
    if (typeof name === 'string' && name !== '') names.push(name);
  }
  return names;
}

function define(target: object, name: string, value: unknown): void {
  Object.defineProperty(target, name, { value, enumerable: false, configurable: true, writable: true });
}

function readSafely(target: object, key: string): unknown {
  try {
    return (target as Record<string, unknown>)[key];
  } catch {
    return undefined;
  }
}

/** A member as text; undefined where it is none. */
function textOf(target: object, key: string): string | undefined {
  const value = readSafely(target, key);
  return typeof value === 'string' ? value : undefined;
}
