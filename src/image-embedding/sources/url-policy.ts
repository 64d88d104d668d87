/** Addresses in one form, and the IPv4 addresses that IPv6 ones carry inside: what leads to the same host is the same for a rule. */

import { BlockList, isIP } from 'node:net';
import { UrlForbiddenError } from '../image-errors.js';
import type { UrlLimits } from './limits.js';

/** IPv6 prefixes, in whole groups, behind which the last two groups are an IPv4 address: mapped, translated, compatible, NAT64 and local NAT64. */
const EMBEDDING: readonly (readonly number[])[] = [
  [0, 0, 0, 0, 0, 0xffff],
  [0, 0, 0, 0, 0xffff, 0],
  [0, 0, 0, 0, 0, 0],
  [0x64, 0xff9b, 0, 0, 0, 0],
  [0x64, 0xff9b, 1],
];

/**
 * An address as text that is the same for all spellings, followed by the IPv4 addresses that it carries.
 *
 * @param address An IP address, with brackets or a zone or without; anything else has no forms.
 */
export function addressForms(address: string): readonly string[] {
  const bare = address.replace(/^\[|\]$/g, '').replace(/%.*$/, '');
  const family = isIP(bare);
  if (family === 4) return [bare];
  if (family !== 6) return [];
  const plain = new URL(`http://[${bare}]/`).hostname.slice(1, -1);
  const groups = groupsOf(plain);
  const forms = [plain];
  const begins = (prefix: readonly number[]): boolean => prefix.every((group, index) => groups[index] === group);
  if (EMBEDDING.some(begins)) forms.push(dotted(groups[6], groups[7]));
  // 6to4 has it behind its prefix, Teredo its complement at the end.
  if (groups[0] === 0x2002) forms.push(dotted(groups[1], groups[2]));
  if (begins([0x2001, 0])) forms.push(dotted(0xffff ^ (groups[6] ?? 0), 0xffff ^ (groups[7] ?? 0)));
  return forms;
}

/** The eight numbers of an address as a URL has it: compressed, without dots. */
function groupsOf(address: string): number[] {
  const [head = '', tail] = address.split('::');
  const parse = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((each) => Number.parseInt(each, 16));
  const [first, last] = [parse(head), parse(tail ?? '')];
  return tail === undefined ? first : [...first, ...new Array<number>(8 - first.length - last.length).fill(0), ...last];
}

function dotted(high = 0, low = 0): string {
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
}

/** An address that a host name stands for. */
export interface HostAddress {
  readonly address: string;
  readonly family: 4 | 6;
}

/** Special-purpose IPv4 blocks of the IANA registry, and the one public address that a cloud answers its guests' secrets on. */
const FORBIDDEN_IPV4: readonly (readonly [string, number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['168.63.129.16', 32],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
];

/** Global unicast is 2000::/3 and all else is special: loopback, mapped, NAT64, unique local, link-local, multicast. */
const ALLOWED_IPV6: readonly (readonly [string, number])[] = [['2000::', 3]];

/** Special blocks within 2000::/3: protocol assignments with Teredo and ORCHID, documentation, and 6to4 (which embeds an IPv4 address). */
const FORBIDDEN_IPV6: readonly (readonly [string, number])[] = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
];

/**
 * Where clouds answer their guests' secrets, and what is linked to this machine alone: shut even where private addresses are open, unless
 * `allowHosts` has the address itself.
 */
const LINK_LOCAL_IPV4: readonly (readonly [string, number])[] = [
  ['169.254.0.0', 16],
  ['168.63.129.16', 32],
  ['100.100.100.200', 32],
  ['192.0.0.192', 32],
];
const LINK_LOCAL_IPV6: readonly (readonly [string, number])[] = [
  ['fe80::', 10],
  ['fd00:ec2::254', 128],
  ['fd00:42::42', 128],
  ['fd20:ce::254', 128],
];

/** Names that mean this machine or this network wherever they resolve. */
const PRIVATE_NAMES = /(?:^|\.)(?:localhost|local|internal|localdomain|lan|home\.arpa)$/;

/** Ports of other protocols, on which an HTTP request could be taken for a command: the fetch standard's list of bad ports. */
const FORBIDDEN_PORTS: ReadonlySet<number> = new Set([
  1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
  111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532,
  540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061,
  6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
]);

const forbidden = new BlockList();
for (const [network, prefix] of FORBIDDEN_IPV4) forbidden.addSubnet(network, prefix, 'ipv4');
for (const [network, prefix] of FORBIDDEN_IPV6) forbidden.addSubnet(network, prefix, 'ipv6');
const global6 = new BlockList();
for (const [network, prefix] of ALLOWED_IPV6) global6.addSubnet(network, prefix, 'ipv6');

const linkLocal = new BlockList();
for (const [network, prefix] of LINK_LOCAL_IPV4) linkLocal.addSubnet(network, prefix, 'ipv4');
for (const [network, prefix] of LINK_LOCAL_IPV6) linkLocal.addSubnet(network, prefix, 'ipv6');

/** Tells whether an address, in text, is an ordinary public one. A text that is no address is not. */
export function isPublicAddress(address: string): boolean {
  switch (isIP(address)) {
    case 4:
      return !forbidden.check(address, 'ipv4');
    case 6:
      return !address.includes('%') && global6.check(address, 'ipv6') && !forbidden.check(address, 'ipv6');
    default:
      return false;
  }
}

/** Says of an address whether it may be dialled. */
export type AddressRule = (address: string) => boolean;

/** The rule that the limits stand for; the deny list is judged beside it, see {@link requireNotDenied}. */
export function addressRule(limits: UrlLimits): AddressRule {
  if (!limits.allowPrivateAddresses) return isPublicAddress;
  const named = new Set((limits.allowHosts ?? []).flatMap(addressForms));
  return (address) => {
    const forms = addressForms(address);
    return forms.length > 0 && (!forms.some(isLinkLocal) || forms.some((form) => named.has(form)));
  };
}

function isLinkLocal(form: string): boolean {
  return linkLocal.check(form, isIP(form) === 4 ? 'ipv4' : 'ipv6');
}

const denied = new WeakMap<UrlLimits, ReadonlySet<string>>();

/** Whether an address is on the deny list, in whatever form it comes. */
function isDenied(address: string, limits: UrlLimits): boolean {
  let forms = denied.get(limits);
  if (forms === undefined) {
    forms = new Set(limits.denyHosts.flatMap(addressForms));
    denied.set(limits, forms);
  }
  return forms.size > 0 && addressForms(address).some((form) => forms.has(form));
}

/**
 * Holds an address that a name leads to against the deny list.
 *
 * @throws {@link UrlForbiddenError} when it is on it.
 */
export function requireNotDenied(url: URL, address: string, limits: UrlLimits): void {
  if (!isDenied(address, limits)) return;
  throw new UrlForbiddenError(
    `Cannot fetch ${describeUrl(url)}: its host leads to ${address}, which is on the deny list`,
  );
}

/** The host of a URL as a resolver or a socket wants it: no brackets, no final dot. */
export function bareHost(url: URL): string {
  const { hostname } = url;
  return hostname.startsWith('[') ? hostname.slice(1, -1) : hostname.replace(/\.$/, '');
}

/** A URL as it may appear in a message: query and fragment, where tokens live, are left out. */
export function describeUrl(url: URL): string {
  const text = `${url.protocol}//${url.host}${url.pathname}`;
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

/**
 * Parses a URL and checks all that can be known before its name is resolved.
 *
 * @param isAllowed Which addresses a URL may name in place of a host.
 * @param base What a redirect's `location` is relative to.
 * @throws {@link UrlForbiddenError} when it may not be fetched.
 */
export function requireFetchable(input: string, limits: UrlLimits, isAllowed: AddressRule, base?: URL): URL {
  let url: URL;
  try {
    url = new URL(input, base);
  } catch (cause) {
    throw new UrlForbiddenError('Cannot fetch URL: expected an absolute http or https URL', { cause });
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new UrlForbiddenError(`Cannot fetch URL: expected http or https, received the scheme ${url.protocol}`);
  }
  const refuse = (why: string): never => {
    throw new UrlForbiddenError(`Cannot fetch ${describeUrl(url)}: ${why}`);
  };
  if (url.username !== '' || url.password !== '') refuse('a URL with a user name or a password is not fetched');
  const host = bareHost(url);
  if (host === '') refuse('it has no host');
  // A resolver and a list would take off different numbers of final dots.
  if (host.split('.').includes('')) refuse('its host has an empty label');
  if (url.port !== '' && FORBIDDEN_PORTS.has(Number(url.port))) refuse(`port ${url.port} belongs to another protocol`);
  const named = url.hostname.replace(/\.$/, '');
  if (limits.denyHosts.some((pattern) => matchesHost(pattern, named)) || isDenied(host, limits)) {
    refuse('its host is on the deny list');
  }
  if (limits.allowHosts !== undefined && !limits.allowHosts.some((pattern) => matchesHost(pattern, named))) {
    refuse('its host is not on the allow list');
  }
  const isPrivate = isIP(host) !== 0 ? !isAllowed(host) : !limits.allowPrivateAddresses && PRIVATE_NAMES.test(host);
  if (isPrivate) refuse(`${host} is not a public address`);
  url.hash = '';
  return url;
}

/**
 * Checks every address that a host name resolved to: one forbidden address among them refuses the host, since the owner of the name put
 * it there.
 *
 * @throws {@link UrlForbiddenError} when one is not public.
 */
export function requirePublic(url: URL, addresses: readonly HostAddress[], isAllowed: AddressRule): void {
  for (const { address } of addresses) {
    if (isAllowed(address)) continue;
    throw new UrlForbiddenError(`Cannot fetch ${describeUrl(url)}: its host leads to ${address}, not a public address`);
  }
}

function matchesHost(pattern: string, host: string): boolean {
  return pattern.startsWith('*.') ? host.endsWith(pattern.slice(1)) : host === pattern;
}
