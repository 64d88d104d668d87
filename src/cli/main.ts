#!/usr/bin/env node
/** The `millrace` command: loads the command line, which needs optional packages, and runs it. */
import { EXIT, missingPackage } from './errors.js';

try {
  const { run } = await import('./run.js');
  process.exitCode = await run(process.argv);
} catch (error) {
  const missing = missingPackage(error);
  if (missing === undefined) throw error;
  process.stderr.write(`millrace: ${missing}\n`);
  process.exitCode = EXIT.failed;
}
