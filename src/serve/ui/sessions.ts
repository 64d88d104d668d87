/**
 * Sessions of the dashboard. An `EventSource` can send no key, so a page that has one trades it for a cookie that opens the stream and nothing else: no
 * action and no embedding is done for a cookie.
 */
import { randomBytes } from 'node:crypto';

const NAME = 'millrace_ui';
const LIFE_S = 8 * 3_600;
const MOST = 100;

/** The sessions that are open. They end with the server. */
export class Sessions {
  readonly #ends = new Map<string, number>();

  /** Opens a session; answers the value of the `Set-Cookie` header. Without a path it is for the page's own folder, wherever that is mounted. */
  open(): string {
    const now = Date.now();
    for (const [token, end] of this.#ends) if (end < now || this.#ends.size >= MOST) this.#ends.delete(token);
    const token = randomBytes(24).toString('base64url');
    this.#ends.set(token, now + LIFE_S * 1_000);
    return `${NAME}=${token}; Max-Age=${LIFE_S}; HttpOnly; SameSite=Strict`;
  }

  /** Whether a `Cookie` header is that of a session. */
  has(cookie: string | undefined): boolean {
    const token = new RegExp(`(?:^|;\\s*)${NAME}=([\\w-]+)`).exec(cookie ?? '')?.[1];
    return token !== undefined && (this.#ends.get(token) ?? 0) > Date.now();
  }
}
