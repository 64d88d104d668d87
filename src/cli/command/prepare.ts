import { stat } from 'node:fs/promises';
import path from 'node:path';
import { type HubProgress, type PreparedModel, prepareModel } from '../../image-embedding/index.js';
import { EXIT, type ExitCode, modelError } from '../exit-codes.js';
import { withNearestModel } from '../model-cache.js';
import { type ModelChoice, modelSource } from '../model-options.js';
import type { CommandContext } from './context.js';

/** `millrace prepare`: brings a model here and prepares it for this machine, ahead of its first use. */
export async function prepareCommand(
  context: CommandContext,
  model: string,
  options: ModelChoice & { readonly verify?: boolean },
): Promise<ExitCode> {
  const { stdout, stderr } = context;
  const erase = stderr.isTTY ? '\r\u001b[2K' : '';
  const onProgress = ({ file, allReceivedBytes, allTotalBytes }: HubProgress) => {
    const share = Math.floor((100 * allReceivedBytes) / Math.max(1, allTotalBytes));
    if (stderr.isTTY) stderr.write(`${erase}${file} ${share} %`);
  };
  const source = (await modelSource({ ...options, model })) ?? model;
  let prepared: PreparedModel;
  try {
    prepared = await prepareModel(source, { hub: { onProgress }, verify: options.verify === true });
  } catch (error) {
    throw modelError(await withNearestModel(error, model));
  }
  stderr.write(erase);
  const { spec, folder, isSmall, isVerified } = prepared;
  if (isVerified === false)
    stdout.write('what was prepared before did not hold against its digests, and was made again\n');
  stdout.write(`model         ${spec.file}\n`);
  const why = isSmall
    ? 'a small model loads as fast without'
    : 'it is loaded as it is, for the reason that the warning gives';
  stdout.write(`prepared      ${folder === undefined ? `no: ${why}` : `${folder} (${await megabytes(folder)} MB)`}\n`);
  if (isVerified === true) stdout.write('verified      yes\n');
  return folder === undefined && !isSmall ? EXIT.failed : EXIT.ok;
}

async function megabytes(folder: string): Promise<number> {
  const sizes = await Promise.all(['model.onnx', 'weights.bin'].map((name) => stat(path.join(folder, name))));
  return Math.round(sizes.reduce((sum, { size }) => sum + size, 0) / 1e6);
}
