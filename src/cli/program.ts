import { Command, Option } from 'commander';
import type { CommandContext } from './command/context.js';
import type { DemoOptions } from './command/demo.js';
import type { EmbedOptions } from './command/embed.js';
import type { ExitCode } from './exit-codes.js';
import { addLimitOptions, addModelOptions, addVectorOptions, countUpTo, type ModelChoice } from './model-options.js';

/** The exit codes of a command, as its help lists them. */
function exitCodes(codes: Readonly<Record<number, string>>): string {
  const lines = Object.entries(codes).map(([code, meaning]) => `  ${code.padEnd(3)}  ${meaning}`);
  return `\nExit codes:\n${lines.join('\n')}`;
}

const EMBEDDING_CODES = exitCodes({
  0: 'every image was embedded',
  1: 'some were not (each has its error line), or the run broke off',
  2: 'nothing was done: wrong usage, an output or a model that cannot be used',
  130: 'interrupted',
});

const MODEL_CODES = exitCodes({ 0: 'done', 2: 'wrong usage, or a model that cannot be used' });

const PREPARE_CODES = exitCodes({
  0: 'done, or a small model that needs none of it',
  1: 'it is here, but could not be prepared: it will be loaded as it is',
  2: 'wrong usage, or a model that cannot be used',
});

const EMBED_EXAMPLES = `
Examples:
  millrace embed photos/ --out vectors.jsonl
  millrace embed "shots/**/*.png" cover.jpg --out vectors.jsonl --workers 4
  millrace embed photos/ --out vectors.jsonl --resume
  millrace embed photos/ --out vectors.jsonl --exclude drafts --exclude "*.gif"
  find . -name "*.webp" -print0 | millrace embed - -0 --out - | head
`;

/**
 * Builds the command line. A command that ends by itself calls `finish` with its exit code; what it throws is the caller's to report.
 */
export function createProgram(context: CommandContext, version: string, finish: (code: ExitCode) => void): Command {
  const program = new Command('millrace')
    .description('Embeds images on this machine, through a pool of worker processes.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand('help [command]', 'Print the help of a command.')
    .showHelpAfterError('(run it with --help for its options)')
    .configureOutput({ writeOut: (text) => context.stdout.write(text), writeErr: (text) => context.stderr.write(text) })
    .exitOverride();

  const subcommand = (name: string, description: string, codes: string): Command =>
    program
      .command(name)
      .description(description)
      .version(version, '-V, --version', 'print the version')
      .helpOption('-h, --help', 'print this help')
      .addHelpText('after', codes);

  const embed = subcommand('embed', 'Embed images: one record for each, in input order.', EMBEDDING_CODES)
    .argument(
      '<inputs...>',
      "files, folders, globs, http(s) URLs, '!<glob>' for what to leave out; '-' reads a list from standard input",
    )
    .requiredOption(
      '-o, --out <file>',
      "where the records go: .jsonl (one JSON line each), .npy or .parquet; '-' is standard output",
    )
    .option(
      '-m, --model <model>',
      'a model folder, or a name on the Hugging Face hub (default: the built-in MobileNet)',
    );
  addModelOptions(embed);
  addVectorOptions(embed)
    .option('-w, --workers <n>', 'how many worker processes', countUpTo(256))
    .option(
      '--concurrency <n>',
      'how many images are under way at once (default: two batches a worker)',
      countUpTo(4_096),
    )
    .addOption(
      new Option('--op <operation>', 'how images reach the workers: by path, or read here and sent as base64')
        .choices(['path', 'base64'])
        .default('path'),
    )
    .option(
      '--exclude <glob>',
      'leave out what matches, a name at any depth or a path; may be repeated',
      (glob: string, before: readonly string[] = []) => [...before, glob],
    )
    .option('-0, --null', 'names in the list on standard input end in NUL, as find -print0 writes them')
    .option('--resume', 'go on behind what the output already holds (.jsonl)')
    .option('--retry-errors', 'with --resume: try again what failed, instead of keeping its errors');
  addLimitOptions(embed)
    .option('--allow-private-urls', 'fetch from private and local addresses too')
    .addHelpText('after', EMBED_EXAMPLES)
    .action(async (inputs: string[], options: EmbedOptions) => {
      const { embedCommand } = await import('./command/embed.js');
      finish(await embedCommand(context, inputs, options));
    });

  const demo = subcommand(
    'demo',
    'Embed a folder of photographs and show the nearest of each, as a table and as a page.',
    EMBEDDING_CODES,
  )
    .argument('[folder]', 'the photographs (default: the examples of the repository)')
    .option('-d, --out-dir <folder>', 'where embeddings.jsonl and index.html go', 'demo-out')
    .option(
      '-m, --model <model>',
      'a model folder, or a name on the Hugging Face hub (default: the built-in MobileNet)',
    );
  addModelOptions(demo)
    .option('-w, --workers <n>', 'how many worker processes', countUpTo(256), 2)
    .action(async (folder: string | undefined, options: DemoOptions) => {
      const { demoCommand } = await import('./command/demo.js');
      finish(await demoCommand(context, folder, options));
    });

  const inspect = subcommand('inspect', 'Show what a model takes in and gives.', MODEL_CODES).argument(
    '<model>',
    "a model folder, a name on the Hugging Face hub, or 'default'",
  );
  addModelOptions(inspect)
    .option('--json', 'as JSON')
    .action(async (model: string, options: ModelChoice & { json?: boolean }) => {
      const { inspectCommand } = await import('./command/inspect.js');
      finish(await inspectCommand(context, model, options));
    });

  const prepare = subcommand(
    'prepare',
    'Bring a model here and prepare it for this machine, ahead of its first use.',
    PREPARE_CODES,
  ).argument('<model>', 'a model folder, or a name on the Hugging Face hub');
  addModelOptions(prepare)
    .option('--verify', 'read all of what was prepared before against its digests')
    .action(async (model: string, options: ModelChoice & { verify?: boolean }) => {
      const { prepareCommand } = await import('./command/prepare.js');
      finish(await prepareCommand(context, model, options));
    });

  subcommand('models', 'List the models that are there without a download.', MODEL_CODES).action(async () => {
    const { modelsCommand } = await import('./command/models.js');
    finish(await modelsCommand(context));
  });

  subcommand(
    'doctor',
    'Check this machine: every line is ok or says what to do.',
    exitCodes({ 0: 'every line is ok', 1: 'there is something to do' }),
  ).action(async () => {
    const { doctorCommand } = await import('./command/doctor.js');
    finish(await doctorCommand(context));
  });

  return program;
}
