#!/usr/bin/env node
/**
 * The `millrace` command. It ends by running out of things to do, never by `process.exit`, so that what was written is flushed; a second
 * Ctrl-C alone cuts it short.
 */
import { CommanderError } from 'commander';
import type { CommandContext } from './command/context.js';
import {
  ClosedPipeError,
  EXIT,
  type ExitCode,
  deepestCoded,
  describeFailure,
  errorCode,
  errorMessage,
  UsageError,
} from './exit-codes.js';
import { packageVersion } from './package-info.js';
import { createProgram } from './program.js';

async function main(argv: readonly string[]): Promise<ExitCode> {
  const { stdin, stdout, stderr } = process;
  // A reader that has gone must not turn into an uncaught exception; writers that care about it listen for themselves.
  stdout.on('error', () => {});
  stderr.on('error', () => {});
  let exitCode: ExitCode = EXIT.ok;
  try {
    // Loaded when they are used: --help needs no pool.
    const context: CommandContext = {
      stdin,
      stdout,
      stderr,
      createEmbedder: async (options) => (await import('./pool-embedder.js')).createPoolEmbedder(options),
      createThumbnailMaker: async () => (await import('./thumbnails.js')).createWorkerThumbnailMaker(),
    };
    const program = createProgram(context, await packageVersion(), (code) => {
      exitCode = code;
    });
    await program.parseAsync([...argv]);
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (error instanceof ClosedPipeError) return EXIT.closedPipe;
    if (error instanceof UsageError) {
      stderr.write(`millrace: ${errorMessage(error)}\n`);
      return EXIT.usage;
    }
    const code = errorCode(deepestCoded(error));
    stderr.write(`millrace: ${code.startsWith('ERR_RUN') ? '' : `${code}: `}${describeFailure(error)}\n`);
    return EXIT.failed;
  }
}

process.exitCode = await main(process.argv);
