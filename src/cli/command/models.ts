import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { cachedModels, cacheFolder, type FoundModel, listFolder, weigh } from '../model-cache.js';
import { PACKAGE_ROOT } from '../package-info.js';
import { renderTable } from '../terminal/table.js';
import type { CommandContext } from './context.js';

/** `millrace models`: the models that are there without a download, the built-in ones and those of the cache. */
export async function modelsCommand({ stdout }: CommandContext): Promise<ExitCode> {
  // Without a home there is no cache, and nothing in it.
  const folder = await cacheFolder().catch(() => undefined);
  const found = [...(await builtInModels()), ...(folder === undefined ? [] : await cachedModels(folder))];
  const rows = found.map(({ name, revision, bytes, files }) => [name, revision, megabytes(bytes), files.join(' ')]);
  const columns = [
    { title: 'model' },
    { title: 'revision' },
    { title: 'size', align: 'right' },
    { title: 'files' },
  ] as const;
  stdout.write(renderTable(columns, rows, stdout.columns));
  stdout.write(`\ncache  ${folder ?? 'none: there is no home folder, set HF_HOME'}\n`);
  return EXIT.ok;
}

async function builtInModels(): Promise<FoundModel[]> {
  const folder = fileURLToPath(new URL('models', PACKAGE_ROOT));
  const names = (await listFolder(folder)).filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  return await Promise.all(
    names.sort().map(async (name) => ({ name, revision: 'built in', ...(await weigh(path.join(folder, name))) })),
  );
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
