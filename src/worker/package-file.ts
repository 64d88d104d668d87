import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import path from 'node:path';

/** A file of this one's folder by which the package is known to be there. */
const LANDMARK = 'host/process-child.js';

let dist: string | undefined;

/**
 * The path of a file of this package: what a worker is started from, a model, a WebAssembly module. A bundler copies none of them, so where this module
 * was bundled they are looked for in the package as it is installed beside the bundle.
 *
 * @param name Its path below `dist`, such as `worker/host/process-child.js`.
 * @throws Error When the package is nowhere to be found.
 */
export function packageFile(name: string): string {
  dist ??= findDist();
  return path.join(dist, name);
}

/** The same as a URL. */
export function packageUrl(name: string): URL {
  return pathToFileURL(packageFile(name));
}

function findDist(): string {
  // Undefined in a bundle of CommonJS. Not written as `new URL(..., import.meta.url)`, which bundlers take for an asset.
  const here: unknown = import.meta.url;
  const origins = [here, process.argv[1], workingFolder()].filter((each) => typeof each === 'string');
  const found =
    (typeof here === 'string' ? resolveFrom(here, `./${LANDMARK}`) : undefined) ??
    origins.map((origin) => resolveFrom(origin, 'millrace/package.json')).find((each) => each !== undefined);
  if (found === undefined) {
    throw new Error(
      `millrace was bundled, and the files that its workers start from are not there: keep it external (esbuild --external:millrace, webpack externals, serverExternalPackages: ['millrace'] in Next.js) and installed where the bundle runs, looked in ${origins.join(', ')}`,
    );
  }
  if (found.endsWith('package.json')) return path.join(path.dirname(found), 'dist');
  return path.resolve(path.dirname(found), '../..');
}

/** Undefined where the folder was deleted. */
function workingFolder(): string | undefined {
  try {
    return `${process.cwd()}/`;
  } catch {
    return undefined;
  }
}

function resolveFrom(origin: string, request: string): string | undefined {
  try {
    const require = createRequire(origin);
    return require.resolve(request);
  } catch {
    return undefined;
  }
}
