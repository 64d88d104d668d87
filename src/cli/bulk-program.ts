/** The arguments of `millrace bulk`. */
import { type Command, Option } from 'commander';
import type { BulkCommandOptions, BulkSubmitCommandOptions } from './command/bulk.js';
import type { BulkResultsCommandOptions } from './command/bulk-results.js';
import type { BulkWorkerCommandOptions } from './command/bulk-worker.js';
import type { CommandContext } from './command/context.js';
import { addServerOptions } from './command/nats-server.js';
import { addLimitOptions, addModelOptions, addVectorOptions, countUpTo } from './command/options.js';
import type { ExitCode } from './errors.js';

const EXAMPLES = `
Examples:
  millrace bulk submit photos/ --id spring --server nats://queue
  millrace bulk worker --server nats://queue            on as many machines as there are
  millrace bulk status spring --server nats://queue
  millrace bulk results spring --out vectors.parquet --server nats://queue
`;

const again = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

/** Adds `bulk` and its subcommands. `codes` renders the exit codes for a help. */
export function addBulkCommands(
  context: CommandContext,
  subcommand: (name: string, description: string, codes: string) => Command,
  finish: (code: ExitCode) => void,
  codes: (meanings: Readonly<Record<number, string>>) => string,
): void {
  const simple = codes({ 0: 'done', 1: 'the server stopped answering', 2: 'wrong usage, no server, or no such run' });
  const bulk = subcommand('bulk', 'Embed on many machines, through a NATS server with JetStream.', EXAMPLES);
  const add = (usage: string, description: string, exits: string = simple): Command =>
    addServerOptions(
      bulk
        .command(usage)
        .description(description)
        .helpOption('-h, --help', 'print this help')
        .option('--service <name>', 'the service that the runs belong to', 'images')
        .addHelpText('after', exits),
    );

  add(
    'submit <inputs...>',
    'Store one job for each input. Run again, it goes on where it was.',
    codes({
      0: 'every job is stored',
      1: 'the run broke off',
      2: 'wrong usage, or other inputs than before',
      130: 'interrupted',
    }),
  )
    .requiredOption('--id <id>', 'the name of the run: letters, digits, - and _')
    .option('--exclude <glob>', 'leave out what matches, a name at any depth or a path; may be repeated', again)
    .option('-0, --null', 'names in the list on standard input end in NUL')
    .option('--max-bytes <n>', 'the most bytes of a picture (default: 100000000)', countUpTo(2 ** 40))
    .option('--shared-paths', 'send paths instead of pictures; workers need --root')
    .action(async (inputs: string[], options: BulkSubmitCommandOptions) => {
      const { bulkSubmitCommand } = await import('./command/bulk.js');
      finish(await bulkSubmitCommand(context, inputs, options));
    });

  const worker = add(
    'worker [ids...]',
    'Embed the pictures of runs: of all of the service, or of those named.',
    codes({
      0: 'stopped by a signal, or all done',
      1: 'some failed (--until-done), or it broke off',
      2: 'wrong usage, or a model that cannot be used',
    }),
  ).option(
    '-m, --model <model>',
    'a model folder, or a name on the Hugging Face hub (default: the built-in MobileNet)',
  );
  addModelOptions(worker);
  addVectorOptions(worker).option('-w, --workers <n>', 'how many worker processes', countUpTo(256));
  addLimitOptions(worker)
    .option('--until-done', 'end when no run waits for workers')
    .option('--allow-private-urls', 'fetch from private and local addresses too')
    .addOption(new Option('--root <folder>', 'a folder whose files jobs may name; may be repeated').argParser(again))
    .action(async (ids: string[], options: BulkWorkerCommandOptions) => {
      const { bulkWorkerCommand } = await import('./command/bulk-worker.js');
      finish(await bulkWorkerCommand(context, ids, options));
    });

  add('status [id]', 'Count one run, or all of the service.')
    .option('--json', 'as JSON')
    .action(async (id: string | undefined, options: BulkCommandOptions & { json?: boolean }) => {
      const { bulkStatusCommand } = await import('./command/bulk.js');
      finish(await bulkStatusCommand(context, id, options));
    });

  add(
    'results <id>',
    'Write the results of a run, in the order of its inputs, as embed does.',
    codes({
      0: 'every picture has a vector',
      1: 'some have errors, or the run is not complete',
      2: 'wrong usage, or no such run',
    }),
  )
    .requiredOption('-o, --out <file>', "where the records go: .jsonl, .npy or .parquet; '-' is standard output")
    .option('--partial', 'write what there is of a run that is not complete')
    .action(async (id: string, options: BulkResultsCommandOptions) => {
      const { bulkResultsCommand } = await import('./command/bulk-results.js');
      finish(await bulkResultsCommand(context, id, options));
    });

  const changes = {
    pause: 'Let workers take no more jobs of a run.',
    resume: 'End the pause of a run.',
    cancel: 'Drop what waits of a run and abort what runs. Results stay.',
    'retry-dead': 'Queue the jobs of a run again that were tried three times in vain.',
    rm: 'Delete a run, with its jobs and its results.',
  } as const;
  for (const [name, description] of Object.entries(changes)) {
    add(`${name} <id>`, description).action(async (id: string, options: BulkCommandOptions) => {
      const { bulkChangeCommand } = await import('./command/bulk.js');
      finish(await bulkChangeCommand(context, name as keyof typeof changes, id, options));
    });
  }
}
