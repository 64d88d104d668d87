import { randomBytes } from 'node:crypto';
import { faultOf, requireString } from '../core/index.js';

// Rights are given by name, so a name is one token of every subject of its owner. An instance is new for each start, so no message of a former self is
// taken for one of this. A session is known to one caller and one host, so no third party can answer for either of them.

/** A host's address: the name that rights are given to, and which start of it this is. */
export interface HostAddress {
  readonly name: string;
  readonly instance: string;
}

/** The subjects of one service. */
export class Subjects {
  readonly #prefix: string;

  constructor(service: string) {
    this.#prefix = `millrace.${service}.`;
  }

  /** Where callers write to a host. */
  host({ name, instance }: HostAddress): string {
    return `${this.#prefix}host.${name}.${instance}`;
  }

  /** Where callers ask who is there; every host listens. */
  get who(): string {
    return `${this.#prefix}host.who`;
  }

  /** Where a caller is written to. What follows are the session and the call. */
  inbox(caller: HostAddress): string {
    return `${this.#prefix}to.${caller.name}.${caller.instance}`;
  }

  /** Whether a subject is in some caller's inbox: no other may be written to because a message asks for it. */
  isInbox(subject: string): boolean {
    return subject.startsWith(`${this.#prefix}to.`) && subject.split('.').length === 7 && /^[\w.-]+$/.test(subject);
  }

  /** Where a host tells of itself; `*` for all. */
  hello(name: string): string {
    return `${this.#prefix}hello.${name}`;
  }

  /** Where foreign clients call. */
  get call(): string {
    return `${this.#prefix}call`;
  }
}

/** A token that no other process has. */
export function uniqueToken(): string {
  return randomBytes(12).toString('base64url');
}

/** A name that is one token of a subject. */
export function requireToken(action: string, name: string, value: unknown): string {
  if (/^[\w-]{1,64}$/.test(requireString(action, name, value))) return value as string;
  throw faultOf(action, name, 'at most 64 letters, digits, - and _', value);
}
