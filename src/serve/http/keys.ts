/** API keys: compared by their digests, all of them each time, so that the time tells nothing of a key. */
import { createHash, timingSafeEqual } from 'node:crypto';

/** The keys of a server; none means that every request is let in. */
export class ApiKeys {
  readonly #digests: readonly Buffer[];

  constructor(keys: readonly string[]) {
    this.#digests = keys.map(digestOf);
  }

  /** Whether a key is asked for at all. */
  get isRequired(): boolean {
    return this.#digests.length > 0;
  }

  /**
   * Whether a request has one of the keys.
   *
   * @param header Reads a header: `authorization: Bearer <key>`, `x-api-key` or `api-key`.
   */
  allows(header: (name: string) => string | undefined): boolean {
    if (!this.isRequired) return true;
    const given = bearerOf(header('authorization')) ?? header('x-api-key') ?? header('api-key');
    if (given === undefined) return false;
    const digest = digestOf(given);
    let isKnown = false;
    for (const each of this.#digests) if (timingSafeEqual(each, digest)) isKnown = true;
    return isKnown;
  }
}

function bearerOf(authorization: string | undefined): string | undefined {
  return /^Bearer +(\S+)\s*$/i.exec(authorization ?? '')?.[1];
}

function digestOf(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

/** The keys of a file or a variable: one a line, without empty lines and those that begin with `#`. */
export function parseKeys(text: string): string[] {
  return text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
}
