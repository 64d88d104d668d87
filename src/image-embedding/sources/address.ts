/** Addresses in one form, and the IPv4 addresses that IPv6 ones carry inside: what leads to the same host is the same for a rule. */
import { isIP } from 'node:net';

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
