/**
 * An index of embedded pictures: made incrementally, searched by vectors, words and pictures, asked for duplicates.
 *
 * `createIndex()` makes one in a folder, `openIndex()` opens it: for one writer at a time, and for any number of readers beside it. Its vectors are
 * a NumPy array, its items lines of JSON, so other programs read both.
 *
 * @module millrace/search
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
export type { DuplicateCopy, DuplicateGroup, DuplicateOptions } from './duplicates.js';
export { embedExpression, type QueryEmbedder } from './embed-expression.js';
export { type ExpressionTerm, type IsPicture, parseExpression } from './expression.js';
export type { FilterOptions, Near } from './filter.js';
export {
  type CreateIndexOptions,
  createIndex,
  ImageIndex,
  type IndexEntry,
  type OpenIndexOptions,
  openIndex,
  type SearchHit,
  type SearchOptions,
} from './image-index.js';
export type { IndexItem, ItemError } from './item.js';
export type { IndexModelSource } from './manifest.js';
export type { QueryTerm, SearchQuery } from './query.js';
export {
  IndexClosedError,
  IndexCorruptError,
  IndexExistsError,
  IndexLockedError,
  IndexModelError,
  IndexNotFoundError,
  IndexWriteError,
} from './search-errors.js';
export { type ImageEmbedder, type IndexProgress, type UpdateOptions, updateIndex } from './update-index.js';
export type { ScanPrecision } from './vector-scan.js';
