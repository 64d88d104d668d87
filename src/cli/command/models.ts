/** The commands about models: `millrace models`, `inspect` and `prepare`. */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type HubProgress,
  type ModelDescription,
  type PreparedModel,
  prepareModel,
} from '../../image-embedding/index.js';
import { builtInNames } from '../../image-embedding/internal.js';
import { EXIT, type ExitCode, modelError } from '../errors.js';
import { renderTable } from '../terminal/text.js';
import { type CommandContext, PACKAGE_ROOT } from './context.js';
import { cachedModels, cacheFolder, type FoundModel, listFolder, weigh, withNearestModel } from './model-cache.js';
import { type ModelChoice, modelSource } from './options.js';

/** `millrace models`: the models that need no download, built in or in the cache. */
export async function modelsCommand({ stdout }: CommandContext): Promise<ExitCode> {
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

/** The built-in image models; `models/` of the package also has files that are none. */
async function builtInModels(): Promise<FoundModel[]> {
  const folder = fileURLToPath(new URL('models', PACKAGE_ROOT));
  const names = (await listFolder(folder)).map((entry) => entry.name).filter((name) => builtInNames.includes(name));
  return await Promise.all(
    names.map(async (name) => ({ name, revision: 'built in', ...(await weigh(path.join(folder, name))) })),
  );
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** `millrace inspect`: what a model takes in and gives, as a worker that has loaded it reports. */
export async function inspectCommand(
  context: CommandContext,
  model: string,
  options: ModelChoice & { readonly json?: boolean },
): Promise<ExitCode> {
  const { stdout, stderr } = context;
  const embedder = await context.createEmbedder({
    model: await modelSource({ ...options, model }),
    workers: 1,
    op: 'path',
    allowPrivateUrls: false,
    onDownload: (text) => showLine(stderr, text),
  });
  let description: ModelDescription;
  try {
    description = await embedder.describe();
  } catch (error) {
    await embedder.destroy(new Error('the model could not be loaded'));
    throw modelError(await withNearestModel(error, model));
  }
  await embedder.close();
  showLine(stderr, '');
  stdout.write(options.json ? `${JSON.stringify(description, undefined, 2)}\n` : renderDescription(description));
  return EXIT.ok;
}

function renderDescription(model: ModelDescription): string {
  const { input, output } = model;
  const pooled = output.pooling === 'none' ? '' : `, ${output.pooling} of its vectors`;
  const rows = [
    ['model', model.name],
    ['family', model.family],
    ['file', model.file],
    ['input', `${input.name} ${input.type} [${input.batch ?? 'batch'}, 3, ${input.height}, ${input.width}]`],
    ['embedding', `${output.name}${pooled}`],
    ['dimension', String(model.dimension)],
    ['supported', model.supportedDimensions.join(', ')],
    ...model.inputs.map((each) => ['graph input', tensor(each)]),
    ...model.outputs.map((each) => ['graph output', tensor(each)]),
  ];
  return rows.map(([label = '', value]) => `${label.padEnd(13)} ${value}\n`).join('');
}

function tensor(value: ModelDescription['inputs'][number]): string {
  return `${value.name} ${value.type} [${value.shape.join(', ')}]`;
}

/** `millrace prepare`: downloads a model and prepares it for this machine, ahead of its first use. */
export async function prepareCommand(
  context: CommandContext,
  model: string,
  options: ModelChoice & { readonly verify?: boolean },
): Promise<ExitCode> {
  const { stdout, stderr } = context;
  const onProgress = ({ file, allReceivedBytes, allTotalBytes }: HubProgress) => {
    const share = Math.floor((100 * allReceivedBytes) / Math.max(1, allTotalBytes));
    showLine(stderr, `${file} ${share} %`);
  };
  const source = (await modelSource({ ...options, model })) ?? model;
  let prepared: PreparedModel;
  try {
    prepared = await prepareModel(source, { hub: { onProgress }, verify: options.verify === true });
  } catch (error) {
    throw modelError(await withNearestModel(error, model));
  }
  showLine(stderr, '');
  const { spec, folder, isSmall, isVerified } = prepared;
  if (isVerified === false)
    stdout.write('the files prepared before did not match their digests, and were made again\n');
  stdout.write(`model         ${spec.file}\n`);
  const why = isSmall
    ? 'a small model loads as fast without'
    : 'it is loaded as it is, for the reason that the warning gives';
  stdout.write(
    `prepared      ${folder === undefined ? `no: ${why}` : `${folder} (${await preparedMegabytes(folder)} MB)`}\n`,
  );
  if (isVerified === true) stdout.write('verified      yes\n');
  return folder === undefined && !isSmall ? EXIT.failed : EXIT.ok;
}

/** The size of a prepared model. */
async function preparedMegabytes(folder: string): Promise<number> {
  const sizes = await Promise.all(['model.onnx', 'weights.bin'].map((name) => stat(path.join(folder, name))));
  return Math.round(sizes.reduce((sum, { size }) => sum + size, 0) / 1e6);
}

/** Replaces the line that a download is shown on; on a terminal only. */
function showLine(stderr: CommandContext['stderr'], text: string): void {
  if (stderr.isTTY) stderr.write(`\r\u001b[2K${text}`);
}
