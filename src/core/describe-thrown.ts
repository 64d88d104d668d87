/** A thrown value in words. */
export interface ThrownDescription {
  /** The name of an error; the type of any other value. */
  readonly name: string;
  readonly message: string;
  /** Its `code`, if that is a string. */
  readonly code: string | undefined;
}

/** Describes a thrown value. Never throws, not even for proxies and for errors whose getters throw. */
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
    // A proxy whose prototype can't be read.
    return false;
  }
}

/** Whether a value is a `DOMException`, of this realm or another. */
export function isDomException(value: unknown): value is Error {
  return tagOf(value) === 'DOMException';
}

/** The tag of `Object.prototype.toString`. */
function tagOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

/** The message of an error, or any other value as text. Never throws. */
export function messageOf(thrown: unknown): string {
  return memberOf(thrown, 'message') ?? textOf(thrown);
}

/** A thrown value as text: for an error its name and message. Never throws. */
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
