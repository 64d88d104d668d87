/**
 * Whether a browser may see the page under the name it used. A foreign page whose name resolves to this machine (DNS rebinding) would be of the same
 * origin, and is told by that name. An address can't be rebound.
 */
import { isIP } from 'node:net';

/** Whether a `Host` header is an address, `localhost`, or one of the names. */
export function isKnownHost(host: string | undefined, names: readonly string[]): boolean {
  const [, bracketed, plain = ''] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d+)?$/.exec(host ?? '') ?? [];
  const name = (bracketed ?? plain).toLowerCase();
  if (isIP(name) !== 0) return true;
  return name === 'localhost' || name.endsWith('.localhost') || names.includes(name);
}

/** Whether a request comes from a page of another origin. A link that is followed is none. */
export function isCrossOrigin(method: string, header: (name: string) => string | undefined): boolean {
  const site = header('sec-fetch-site');
  if (method === 'GET' && header('sec-fetch-mode') === 'navigate' && header('sec-fetch-dest') === 'document')
    return false;
  if (site !== undefined) return site !== 'same-origin' && site !== 'none';
  const origin = header('origin');
  return origin !== undefined && (!URL.canParse(origin) || new URL(origin).host !== header('host'));
}
