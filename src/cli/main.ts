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
  RunError,
  UsageError,
} from './exit-codes.js';
import { packageVersion } from './package-info.js';
import { createProgram } from './program.js';

async function main(argv: readonly string[]): Promise<ExitCode> {
  const { stdin, stdout, stderr } = process;
  // A reader that has gone must not turn into an uncaught exception: what was not written is found out at the end.
  let lost: unknown;
  stdout.on('error', (error) => {
    lost ??= error;
  });
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
    await program.parseAsync([...argv]).catch((error: unknown) => {
      // The help and the version have been printed.
      if (!(error instanceof CommanderError) || error.exitCode !== 0) throw error;
    });
    await flushed(stdout);
    if (lost === undefined || exitCode !== EXIT.ok) return exitCode;
    if (errorCode(lost) === 'EPIPE') return EXIT.closedPipe;
    throw new RunError(`Cannot write to standard output: ${errorMessage(lost)}`, { cause: lost });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (error instanceof ClosedPipeError) return EXIT.closedPipe;
    if (error instanceof UsageError) {
      stderr.write(`millrace: ${errorMessage(error)}\n`);
      return EXIT.usage;
    }
    if ((error as { syscall?: unknown }).syscall === 'uv_cwd') {
      stderr.write('millrace: Cannot resolve a relative path: the folder that the command was started in is no more\n');
      return EXIT.failed;
    }
    const code = errorCode(deepestCoded(error));
    const message = describeFailure(error);
    const advice = code === 'EMFILE' || code === 'ENFILE' ? '; allow more open files (ulimit -n)' : '';
    const isSaid = code === 'ERR_RUN' || message.startsWith(code);
    stderr.write(`millrace: ${isSaid ? '' : `${code}: `}${message}${advice}\n`);
    return EXIT.failed;
  }
}

/** Waits until what was written has been taken, or could not be. */
function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    stream.write('', () => setImmediate(resolve));
  });
}

process.exitCode = await main(process.argv);
