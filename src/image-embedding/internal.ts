/**
 * The parts of image embedding that the command and the index share with it, beside `index.ts`: the walk over folders of images, file names as text,
 * the lock between processes, and the map that keeps the order of its input.
 *
 * @module
 */
export { normalizeInPlace } from './embedding-vector.js';
export {
  type FolderEntry,
  FolderError,
  imageFileEndings,
  readFolder,
  systemFolders,
  type WalkedFile,
  walkImages,
} from './facade/image-files.js';
export { type MapOptions, mapInOrder } from './facade/map-in-order.js';
export { FileLock, type LockHolder, STALE_MS } from './file-lock.js';
export { decodePath, encodePath, isEscapedPath, pathOfFileUrl, printablePath } from './file-name.js';
export { makeFolder } from './file-system.js';
export { hubCacheFolder } from './hub/hub-options.js';
export { fromFloat16 } from './inference/tensors.js';
export { builtInNames, nearestName } from './model/resolve-model.js';
export { bytesFromPath, type PathLimits } from './sources/path-source.js';
