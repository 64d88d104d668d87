/**
 * The `millrace` command. It ends when the event loop is empty, so that its output is flushed; only a second Ctrl-C calls `process.exit`.
 */
import { CommanderError } from 'commander';
import type { CommandContext } from './command/context.js';
import { packageVersion } from './command/context.js';
import {
  ClosedPipeError,
  deepestCoded,
  describeFailure,
  EXIT,
  type ExitCode,
  errorCode,
  errorMessage,
  missingPackage,
  RunError,
  UsageError,
} from './errors.js';
import { createProgram } from './program.js';

/** Runs the command line. @returns The exit code. */
export async function run(argv: readonly string[]): Promise<ExitCode> {
  const { stdin, stdout, stderr } = process;
  // A reader that has closed standard output must not become an uncaught exception.
  let lost: unknown;
  stdout.on('error', (error) => {
    lost ??= error;
  });
  stderr.on('error', () => {});
  let exitCode: ExitCode = EXIT.ok;
  try {
    // Loaded on first use: --help needs no pool.
    const context: CommandContext = {
      stdin,
      stdout,
      stderr,
      createEmbedder: async (options) => (await import('./command/pool-embedder.js')).createPoolEmbedder(options),
      createThumbnailMaker: async () => (await import('./command/thumbnails.js')).createWorkerThumbnailMaker(),
    };
    const program = createProgram(context, await packageVersion(), (code) => {
      exitCode = code;
    });
    await program.parseAsync([...argv]).catch((error: unknown) => {
      // Thrown after the help or the version was printed.
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
      stderr.write(`millrace: ${describeFailure(error)}\n`);
      return EXIT.usage;
    }
    if ((error as { syscall?: unknown }).syscall === 'uv_cwd') {
      stderr.write(
        'millrace: Cannot resolve a relative path: the folder that the command was started in no longer exists\n',
      );
      return EXIT.failed;
    }
    const missing = missingPackage(error);
    if (missing !== undefined) {
      stderr.write(`millrace: ${missing}\n`);
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

/** Waits until everything written has been flushed or has failed. */
function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    stream.write('', () => setImmediate(resolve));
  });
}
