import type { Readable, Writable } from 'node:stream';
import type { CreateEmbedder } from '../embedder.js';
import type { ProgressStream } from '../terminal/progress.js';
import type { CreateThumbnailMaker } from '../thumbnails.js';

/** What a command has to do with: the streams, and the ways to workers. */
export interface CommandContext {
  readonly stdin: Readable;
  readonly stdout: Writable & ProgressStream;
  readonly stderr: Writable & ProgressStream;
  readonly createEmbedder: CreateEmbedder;
  readonly createThumbnailMaker: CreateThumbnailMaker;
}
