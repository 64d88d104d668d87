import { readFile } from 'node:fs/promises';
import { decodePath, isEscapedPath } from '../../image-embedding/index.js';

/**
 * The path in an argument. Node puts U+FFFD in the place of bytes that are not UTF-8, such as a shell gives for `*.jpg`; Linux says what they were.
 */
export async function rawArgument(arg: string): Promise<string> {
  if (!arg.includes('\uFFFD')) return arg;
  const text = await readFile('/proc/self/cmdline').catch(() => Buffer.alloc(0));
  const args = splitAtNul(text).filter((each) => each.toString('utf8') === arg);
  const paths = args.map(decodePath).filter(isEscapedPath);
  // Of several that look the same each stands for one; which comes first does not matter, since all are arguments.
  const turn = turns.get(arg) ?? 0;
  turns.set(arg, turn + 1);
  return paths[turn] ?? arg;
}

const turns = new Map<string, number>();

function splitAtNul(bytes: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  let from = 0;
  for (let end = bytes.indexOf(0); end >= 0; end = bytes.indexOf(0, from)) {
    parts.push(bytes.subarray(from, end));
    from = end + 1;
  }
  return parts;
}
