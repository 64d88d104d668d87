/**
 * An image embedding pool behind HTTP, for the clients that people already have: OpenAI, Infinity, Jina, vLLM, Text Embeddings Inference, Cohere,
 * Voyage, Ollama, Immich and Weaviate.
 *
 * {@link listen} is a server; {@link createServeApp} is a `fetch` handler for a server of one's own. Its packages are optional, and are loaded when
 * it starts.
 *
 * @module millrace/serve
 */
export {
  type ErrorCode,
  type ErrorOf,
  type Fault,
  isMillraceError,
  MillraceError,
  type MillraceErrorOptions,
  type MillraceErrors,
} from '../core/index.js';
export type { AccessEntry, ProtocolName, ServeOptions } from './options.js';
export { createServeApp, listen, type ListenOptions, type ServeApp, type ServeServer } from './serve.js';
export type { ServePool } from './serve-pool.js';
