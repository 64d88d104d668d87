import { Command, Option } from 'commander';
import { addBulkCommands } from './bulk-program.js';
import type { BuildIndexOptions } from './command/build-index.js';
import type { CommandContext } from './command/context.js';
import type { DemoOptions } from './command/demo.js';
import type { DuplicatesCommandOptions } from './command/duplicates.js';
import type { EmbedOptions } from './command/embed.js';
import {
  addLimitOptions,
  addModelOptions,
  addPreprocessOption,
  addVectorOptions,
  countUpTo,
  DEMO_FOLDER,
  type ModelChoice,
  parseBytes,
  parsePlace,
  parsePort,
  parseScore,
} from './command/options.js';
import type { SearchCommandOptions } from './command/search.js';
import type { ServeCommandOptions } from './command/serve.js';
import type { ExitCode } from './errors.js';
import { addHostCommands } from './host-program.js';

/** The exit codes of a command, as its help lists them. */
function exitCodes(codes: Readonly<Record<number, string>>): string {
  const lines = Object.entries(codes).map(([code, meaning]) => `  ${code.padEnd(3)}  ${meaning}`);
  return `\nExit codes:\n${lines.join('\n')}`;
}

const EMBEDDING_CODES = exitCodes({
  0: 'every image was embedded',
  1: 'some were not (each has its error line), or the run failed',
  2: 'nothing was done: wrong usage, an output or a model that cannot be used',
  130: 'interrupted',
});

const MODEL_CODES = exitCodes({ 0: 'done', 2: 'wrong usage, or a model that cannot be used' });

const PREPARE_CODES = exitCodes({
  0: 'done, or a small model that needs no preparation',
  1: 'downloaded, but not prepared: it will be loaded as it is',
  2: 'wrong usage, or a model that cannot be used',
});

const INDEX_CODES = exitCodes({
  0: 'the index is up to date',
  1: 'some pictures could not be embedded, or the run broke off',
  2: 'nothing was done: wrong usage, an index or a model that cannot be used',
  130: 'interrupted: the next run goes on from there',
});

const SEARCH_CODES = exitCodes({ 0: 'done', 2: 'wrong usage, or an index, a model or a word that cannot be used' });

const SERVE_CODES = exitCodes({
  0: 'it was asked to end, and has answered what it had accepted',
  1: 'the server failed',
  2: 'nothing was served: wrong usage, an address or a model that cannot be used',
  130: 'quit at once',
});

const INDEX_EXAMPLES = `
Examples:
  millrace index photos/
  millrace index photos/ /mnt/nas/pictures --index all.idx --exclude drafts --watch
`;

const SEARCH_EXAMPLES = `
Examples:
  millrace search cat
  millrace search ./pool.jpg + night
  millrace search 2:golden retriever - leash --after 2023 --limit 50 --html found.html
  millrace search boat --paths -0 | xargs -0 cp -t boats/
`;

const SERVE_EXAMPLES = `
Examples:
  millrace serve --ui
  millrace serve --model clip=Xenova/clip-vit-base-patch32 --alias ViT-B-32__openai=clip --host 0.0.0.0 --port 3003
  millrace serve --api-key-file keys.txt --open-protocol immich

Keys are lines of --api-key-file, or of the variable MILLRACE_API_KEYS. Clients: docs/serving.md.
`;

const EMBED_EXAMPLES = `
Examples:
  millrace embed photos/ --out vectors.jsonl
  millrace embed "shots/**/*.png" cover.jpg --out vectors.jsonl --workers 4
  millrace embed photos/ --out vectors.jsonl --resume
  millrace embed photos/ --out vectors.jsonl --exclude drafts --exclude "*.gif"
  find . -name "*.webp" -print0 | millrace embed - -0 --out - | head
`;

/**
 * Builds the command line. A command that ends calls `finish` with its exit code; an error that it throws is reported by the caller.
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
      "files, folders, globs, http(s) URLs, '!<glob>' to leave out; '-' reads a list from standard input",
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
    .option('--resume', 'keep what the output already holds and embed the rest (.jsonl)')
    .option('--retry-errors', 'with --resume: try failed inputs again, instead of keeping their errors');
  addLimitOptions(embed)
    .option('--allow-private-urls', 'fetch from private and local addresses too')
    .addHelpText('after', EMBED_EXAMPLES)
    .action(async (inputs: string[], options: EmbedOptions) => {
      const { embedCommand } = await import('./command/embed.js');
      finish(await embedCommand(context, inputs, options));
    });

  addIndexCommands(context, subcommand, finish);
  addServeCommand(context, subcommand, finish);
  addHostCommands(context, subcommand, finish, exitCodes);
  addBulkCommands(context, subcommand, finish, exitCodes);

  const demo = subcommand(
    'demo',
    'Embed a folder of photographs and show the most similar ones, as a table and as a page.',
    EMBEDDING_CODES,
  )
    .argument('[folder]', 'the photographs (default: the examples of the repository)')
    .option('-d, --out-dir <folder>', 'where embeddings.jsonl and index.html go', DEMO_FOLDER)
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
      const { inspectCommand } = await import('./command/models.js');
      finish(await inspectCommand(context, model, options));
    });

  const prepare = subcommand(
    'prepare',
    'Download a model and prepare it for this machine, ahead of its first use.',
    PREPARE_CODES,
  ).argument('<model>', 'a model folder, or a name on the Hugging Face hub');
  addModelOptions(prepare)
    .option('--verify', 'check the files prepared before against their digests')
    .action(async (model: string, options: ModelChoice & { verify?: boolean }) => {
      const { prepareCommand } = await import('./command/models.js');
      finish(await prepareCommand(context, model, options));
    });

  subcommand('models', 'List the models that need no download.', MODEL_CODES).action(async () => {
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

/** Adds `serve`. */
function addServeCommand(
  context: CommandContext,
  subcommand: (name: string, description: string, codes: string) => Command,
  finish: (code: ExitCode) => void,
): void {
  const collect = (text: string, before: readonly string[] = []): readonly string[] => [...before, text];
  const serve = subcommand('serve', "Answer HTTP, in the words of other embedding servers' clients.", SERVE_CODES)
    .option('-p, --port <n>', 'the port (default: 7997)', parsePort)
    .option('--host <address>', 'the address to listen at; 0.0.0.0 is every one (default: 127.0.0.1)')
    .option(
      '-m, --model <[name=]model>',
      'a model folder or a name on the Hugging Face hub, and what requests call it; may be repeated (default: the built-in MobileNet)',
      collect,
    );
  addModelOptions(serve)
    .option('-w, --workers <n>', 'how many worker processes of each model at most', countUpTo(256))
    .option('--alias <alias=name>', "a further name of a model, '*' for every other; may be repeated", collect)
    .option('--api-key-file <file>', 'keys of which each request must have one, one a line')
    .addOption(
      new Option('--open-protocol <names...>', 'protocols that need no key, for clients that can send none').choices([
        'immich',
        'weaviate',
        'openai',
        'tei',
        'cohere',
        'voyage',
        'ollama',
      ]),
    )
    .option('--allow-urls', 'pictures may be URLs, which are fetched from public addresses')
    .option('--max-body <n>', 'the most bytes of a request, as 32e6 or 32M (default: 32M)', parseBytes)
    .option('--max-pictures <n>', 'the most pictures of a request (default: 32)', countUpTo(4_096))
    .option('--immich-fallback <url>', "where Immich's other tasks go: its own container")
    .option('--ui', 'show a page at /ui/')
    .option(
      '--index <folder>',
      'show a page at /search/ that searches this index, by its model where no other is named',
    )
    .option('--ui-thumbnails', 'show the last pictures on it')
    .option(
      '--allowed-host <name>',
      'a name of this machine under which browsers may open it; may be repeated',
      collect,
    )
    .option('-q, --quiet', 'print no line for each request')
    .addHelpText('after', SERVE_EXAMPLES)
    .action(async (options: ServeCommandOptions) => {
      const { serveCommand } = await import('./command/serve.js');
      finish(await serveCommand(context, options));
    });
}

const INDEX_FOLDER = ['--index <folder>', 'the index (default: millrace.idx)'] as const;
const SEARCHED = ['--index <folder>', 'the index, or what embed wrote (default: millrace.idx)'] as const;
const HTML_PAGE = ['--html <file>', 'write a page with thumbnails, which links the originals'] as const;

/** Adds `index`, `search` and `duplicates`. */
function addIndexCommands(
  context: CommandContext,
  subcommand: (name: string, description: string, codes: string) => Command,
  finish: (code: ExitCode) => void,
): void {
  const index = subcommand('index', 'Make pictures searchable: embed what is new or has changed.', INDEX_CODES)
    .argument('<inputs...>', "files, folders, globs, http(s) URLs, '!<glob>' for what to leave out; '-' reads a list")
    .option(...INDEX_FOLDER)
    .option(
      '-m, --model <model>',
      'a model folder, or a name on the hub (default: that of the index, or the built-in one)',
    );
  addModelOptions(index);
  addPreprocessOption(index)
    .option('-w, --workers <n>', 'how many worker processes', countUpTo(256))
    .option(
      '--exclude <glob>',
      'leave out what matches, a name at any depth or a path; may be repeated',
      (glob: string, before: readonly string[] = []) => [...before, glob],
    )
    .option('-0, --null', 'names in the list on standard input end in NUL')
    .option('--watch', 'stay, and index what changes')
    .option('--retry-errors', 'try again what failed and has not changed')
    .option('--reindex', 'make the index anew, by another model; the old one is searchable until it is done')
    .option('--allow-private-urls', 'fetch from private and local addresses too')
    .addHelpText('after', INDEX_EXAMPLES)
    .action(async (inputs: string[], options: BuildIndexOptions) => {
      const { buildIndexCommand } = await import('./command/build-index.js');
      finish(await buildIndexCommand(context, inputs, options));
    });

  subcommand('search', 'Find pictures of an index by words, by a picture, or by both.', SEARCH_CODES)
    .argument('<query...>', "words, a picture, a URL; joined by ' + ' and ' - ', with weights as in '2:cat'")
    .option(...SEARCHED)
    .option('-n, --limit <n>', 'how many pictures', countUpTo(1_000_000), 10)
    .option('--min-score <x>', 'the least score, from -1 to 1', parseScore)
    .option('--after <date>', 'taken at this time or later, as 2024-07-31')
    .option('--before <date>', 'taken before this time')
    .option('--near <lat,lon[,km]>', 'taken near a place, 10 km by default', parsePlace)
    .option('--camera <name>', "part of the camera's name")
    .option('--folder <folder>', 'in this folder, at any depth')
    .option('--template <text>', "what words become, as 'a photo of a {}'")
    .option('-m, --model <model>', 'the model of the vectors, where the index does not say where that is')
    .option('--copy-to <folder>', 'copy the pictures that are found')
    .option('--paths', 'print paths only')
    .option('-0, --null', 'print paths only, each ended by NUL')
    .option('--json', 'print all that is known, as JSON')
    .option(...HTML_PAGE)
    .option('--allow-private-urls', 'fetch from private and local addresses too')
    .addHelpText('after', SEARCH_EXAMPLES)
    .action(async (query: string[], options: SearchCommandOptions) => {
      const { searchCommand } = await import('./command/search.js');
      finish(await searchCommand(context, query, options));
    });

  subcommand('duplicates', 'Show pictures of an index that look the same. Nothing is deleted.', SEARCH_CODES)
    .option(...SEARCHED)
    .option('--min-score <x>', 'how alike two copies are at least, from -1 to 1', parseScore)
    .option('--across', 'only what is in more than one folder')
    .addOption(new Option('--keep <which>', 'which copy is the best').choices(['largest', 'oldest']).default('largest'))
    .option('--folder <folder>', 'in this folder, at any depth')
    .option('--paths', 'print the paths of the copies beside the best')
    .option('-0, --null', 'the same, each ended by NUL')
    .option('--json', 'print all that is known, as JSON')
    .option(...HTML_PAGE)
    .action(async (options: DuplicatesCommandOptions) => {
      const { duplicatesCommand } = await import('./command/duplicates.js');
      finish(await duplicatesCommand(context, options));
    });
}
