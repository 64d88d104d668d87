import type { FileLock } from '../image-embedding/index.js';
import type { Embedder } from './embedder.js';
import { EXIT } from './exit-codes.js';

/** Ends this process and its workers without waiting for what runs. The lock of the output alone is given back before. */
export function quitAtOnce(embedder: Embedder, lock: FileLock | undefined): void {
  const quit = (): never => {
    void embedder.destroy(new Error('quit at once'));
    process.exit(EXIT.interrupted);
  };
  void (lock?.release() ?? Promise.resolve()).then(quit, quit);
}
