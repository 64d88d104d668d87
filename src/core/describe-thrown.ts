/** What was thrown, in words. */
export interface ThrownDescription {
  /** The name of an error; the type of what is none. */
  readonly name: string;
  readonly message: string;
  /** Where it is text. */
  readonly code: string | undefined;
}

const unknown: ThrownDescription = Object.freeze({
  name: 'unknown',
  message: 'what was thrown could not be looked at',
  code: undefined,
});

/** Describes what was thrown. It never throws, whatever that is: an error whose getters do, an object that is no text. */
export function describeThrown(thrown: unknown): ThrownDescription {
  try {
    const code = typeof thrown === 'object' && thrown !== null ? (thrown as { code?: unknown }).code : undefined;
    const isError = thrown instanceof Error;
    return {
      name: isError ? String(thrown.name) : typeof thrown,
      message: String(isError ? thrown.message : thrown),
      code: typeof code === 'string' ? code : undefined,
    };
  } catch {
    return unknown;
  }
}

/** The message of an error, or any other value as text. Never throws. */
export function messageOf(thrown: unknown): string {
  return describeThrown(thrown).message;
}
