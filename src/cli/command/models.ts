import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { cacheFolder } from '../model-cache.js';
import { PACKAGE_ROOT } from '../package-info.js';
import { renderTable } from '../terminal/table.js';
import type { CommandContext } from './context.js';

interface FoundModel {
  readonly name: string;
  readonly revision: string;
  readonly bytes: number;
  readonly files: readonly string[];
}

/** `millrace models`: the models that are there without a download, the built-in ones and those of the cache. */
export async function modelsCommand({ stdout }: CommandContext): Promise<ExitCode> {
  const folder = await cacheFolder();
  const found = [...(await builtInModels()), ...(await cachedModels(folder))];
  const rows = found.map(({ name, revision, bytes, files }) => [name, revision, megabytes(bytes), files.join(' ')]);
  const columns = [
    { title: 'model' },
    { title: 'revision' },
    { title: 'size', align: 'right' },
    { title: 'files' },
  ] as const;
  stdout.write(renderTable(columns, rows, stdout.columns));
  stdout.write(`\ncache  ${folder}\n`);
  return EXIT.ok;
}

async function builtInModels(): Promise<FoundModel[]> {
  const folder = fileURLToPath(new URL('models', PACKAGE_ROOT));
  const names = (await listFolder(folder)).filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  return await Promise.all(
    names.sort().map(async (name) => ({ name, revision: 'built in', ...(await weigh(path.join(folder, name))) })),
  );
}

/** The cache's layout: `models--<owner>--<name>/snapshots/<revision>/`, whose files are links to blobs. */
async function cachedModels(folder: string): Promise<FoundModel[]> {
  const models: FoundModel[] = [];
  for (const entry of (await listFolder(folder)).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (!entry.name.startsWith('models--')) continue;
    const snapshots = path.join(folder, entry.name, 'snapshots');
    for (const { name: revision } of await listFolder(snapshots)) {
      const weighed = await weigh(path.join(snapshots, revision));
      if (weighed.files.length === 0) continue;
      const name = entry.name.slice('models--'.length).replaceAll('--', '/');
      models.push({ name, revision: revision.slice(0, 12), ...weighed });
    }
  }
  return models;
}

/** The ONNX files of a model, and the bytes of all its files. */
async function weigh(folder: string): Promise<{ bytes: number; files: string[] }> {
  let bytes = 0;
  const files: string[] = [];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])) {
    const file = path.join(entry.parentPath, entry.name);
    const info = await stat(file).catch(() => undefined);
    if (!info?.isFile()) continue;
    bytes += info.size;
    if (entry.name.endsWith('.onnx')) files.push(path.relative(folder, file));
  }
  return { bytes, files: files.sort() };
}

async function listFolder(folder: string): Promise<Dirent[]> {
  return await readdir(folder, { withFileTypes: true }).catch(() => []);
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
