/**
 * Prepares one model, in a process of its own, whose memory is gone with it: `node prepare-child.js <model.onnx> <folder>`. What goes wrong is
 * the last line on stderr.
 */
import { EmbeddingSession } from '../inference/session.js';

const [file = '', folder = ''] = process.argv.slice(2);
try {
  await EmbeddingSession.optimize(file, folder);
} catch (error) {
  const { cause } = error as { readonly cause?: unknown };
  process.stderr.write(`${String(error)}${cause === undefined ? '' : ` (${String(cause)})`}\n`);
  process.exitCode = 1;
}
