import path from 'node:path';
import picomatch from 'picomatch';
import { toGlobText } from './glob-text.js';

/** Whether a file or folder is left out; `root` is the folder or glob that it was found in. */
export type Exclusion = (file: string, root?: string) => boolean;

/**
 * What `--exclude` leaves out. A pattern without a slash is held against each name of a path below its root, one with slashes against the path
 * from the root, from the working folder, and from the top. What leaves out a folder leaves out all that is in it.
 */
export function createExclusion(patterns: readonly string[]): Exclusion {
  if (patterns.length === 0) return () => false;
  const plain = patterns.map((pattern) =>
    toGlobText(pattern)
      .replace(/^\.\//, '')
      .replace(/(?<=.)\/+$/, ''),
  );
  const byName = plain.filter((pattern) => !pattern.includes('/'));
  const byPath = plain.filter((pattern) => pattern.includes('/'));
  const matchesName = byName.length === 0 ? () => false : picomatch(byName, { dot: true });
  const matchesPath = byPath.length === 0 ? () => false : picomatch(byPath, { dot: true });
  return (file, root) => {
    const absolute = toGlobText(path.resolve(file));
    const below = path.relative(toGlobText(root ?? ''), absolute);
    if (below.split('/').some((name) => matchesName(name))) return true;
    if (byPath.length === 0) return false;
    return [below, path.relative('', absolute), absolute].some((whole) => prefixes(whole).some(matchesPath));
  };
}

/** A path, and that of each folder on its way. */
function prefixes(file: string): string[] {
  const names = file.split('/');
  return names.map((_, index) => names.slice(0, index + 1).join('/')).filter((each) => each !== '');
}
