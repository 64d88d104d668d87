import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

/** The folder that the package lives in: two above this file, in the sources as in the build. */
export const PACKAGE_ROOT: URL = new URL('../../', import.meta.url);

/** The package's version, from its own package.json. */
export async function packageVersion(): Promise<string> {
  const text = await readFile(fileURLToPath(new URL('package.json', PACKAGE_ROOT)), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
