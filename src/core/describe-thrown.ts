/** What was thrown, in words. */
export interface ThrownDescription {
  /** The name of an error; the type of what is none. */
  readonly name: string;
  readonly message: string;
  /** Where it is text. */
  readonly code: string | undefined;
}

/** Describes what was thrown. It never throws, whatever that is: an error whose getters do, a proxy, an object that is no text. */
export function describeThrown(thrown: unknown): ThrownDescription {
  return {
    name: memberOf(thrown, 'name') ?? typeof thrown,
    message: messageOf(thrown),
    code: codeOf(thrown),
  };
}

/** Whether a value is an error, of this realm or another. Never throws. */
export function isError(value: unknown): value is Error {
  try {
    if (value instanceof Error) return true;
    return tagOf(value) === 'Error' || isDomException(value);
  } catch {
    // A proxy that does not say what it is made after.
    return false;
  }
}

/** Whether a value is a `DOMException`, of this realm or another. */
export function isDomException(value: unknown): value is Error {
  return tagOf(value) === 'DOMException';
}

/** What kind of object the engine says that it is. */
function tagOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

/** The message of an error, or any other value as text. Never throws. */
export function messageOf(thrown: unknown): string {
  return memberOf(thrown, 'message') ?? textOf(thrown);
}

/** What was thrown as text: of an error its name and message. Never throws. */
export function textOf(thrown: unknown): string {
  try {
    return String(thrown);
  } catch {
    return 'something that has no text';
  }
}

function memberOf(thrown: unknown, key: 'name' | 'message'): string | undefined {
  try {
    const value: unknown = isError(thrown) ? thrown[key] : undefined;
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}

function codeOf(thrown: unknown): string | undefined {
  try {
    const { code } = thrown as { readonly code?: unknown };
    return typeof code === 'string' ? code : undefined;
  } catch {
    // Also of undefined and null.
    return undefined;
  }
}
