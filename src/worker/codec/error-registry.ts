import * as channels from '../../channels/index.js';
import { MillraceError } from '../../core/index.js';
import * as workerErrors from '../errors.js';

/** A class whose instances keep their class when they cross from a worker's host to its handle. */
// With `never` any constructor will do; it is never called.
export type ErrorClass = abstract new (...args: never[]) => Error;

const classes = new Map<string, ErrorClass>();

function add(name: string, errorClass: ErrorClass): void {
  classes.set(name, errorClass);
}

for (const each of [Error, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError, AggregateError]) {
  add(each.name, each);
}
for (const space of [channels, workerErrors]) {
  for (const each of Object.values<unknown>(space)) {
    if (typeof each === 'function' && each.prototype instanceof Error) add(each.name, each as ErrorClass);
  }
}

/**
 * Lets errors of a class cross the boundary of a host as what they are.
 *
 * Errors travel by the names of their classes. Those of JavaScript and of Millrace are known; an error of any other class arrives as the
 * nearest ancestor that is, with its own name, message, `code`, `cause` and enumerable properties. A class that is registered in the process
 * of the handle arrives as itself. Its constructor is not called: the properties are set on an object of its prototype.
 *
 * **Cancel safety:** not applicable; it does not wait.
 *
 * @param errorClass The class. Its name must be its own: a second class of the same name replaces the first.
 * @throws TypeError When it is no subclass of `Error`, or has no name.
 * @example
 * ```ts
 * class OutOfPaperError extends Error {}
 * registerErrorClass(OutOfPaperError);
 * ```
 */
export function registerErrorClass(errorClass: ErrorClass): void {
  if (typeof errorClass !== 'function' || !isMadeAfterError(errorClass.prototype) || errorClass.name === '') {
    throw new TypeError('Cannot register error class: it must be a named subclass of Error');
  }
  add(errorClass.name, errorClass);
}

/** Whether a prototype has that of `Error` above it, of this realm or another. */
function isMadeAfterError(prototype: unknown): boolean {
  for (let each: object | null = Object(prototype); each !== null; each = Object.getPrototypeOf(each)) {
    if (each !== prototype && each.constructor?.name === 'Error') return true;
  }
  return false;
}

/** The first known class among some names, nearest first. */
export function findErrorClass(names: readonly string[]): ErrorClass | undefined {
  for (const name of names) {
    const found = classes.get(name);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** A Millrace error from a worker's host whose class this process does not know; `name`, `code` and the rest are the original's. */
export class RemoteError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'RemoteError';
  readonly code: string = 'ERR_REMOTE';
}

declare module '../../core/errors.js' {
  interface MillraceErrors {
    ERR_REMOTE: RemoteError;
  }
}
