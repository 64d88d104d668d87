import type { ModelDescription } from '../../image-embedding/index.js';
import { EXIT, type ExitCode, modelError } from '../exit-codes.js';
import { withNearestModel } from '../model-cache.js';
import { type ModelChoice, modelSource } from '../model-options.js';
import type { CommandContext } from './context.js';

/** `millrace inspect`: what a model takes in and gives, as a worker that has loaded it says. */
export async function inspectCommand(
  context: CommandContext,
  model: string,
  options: ModelChoice & { readonly json?: boolean },
): Promise<ExitCode> {
  const { stdout, stderr } = context;
  const erase = stderr.isTTY ? '\r\u001b[2K' : '';
  const embedder = await context.createEmbedder({
    model: await modelSource({ ...options, model }),
    workers: 1,
    op: 'path',
    allowPrivateUrls: false,
    onDownload: (text) => {
      if (stderr.isTTY) stderr.write(`${erase}${text}`);
    },
  });
  let description: ModelDescription;
  try {
    description = await embedder.describe();
  } catch (error) {
    await embedder.destroy(new Error('the model could not be loaded'));
    throw modelError(await withNearestModel(error, model));
  }
  await embedder.close();
  stderr.write(erase);
  stdout.write(options.json ? `${JSON.stringify(description, undefined, 2)}\n` : render(description));
  return EXIT.ok;
}

function render(model: ModelDescription): string {
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
