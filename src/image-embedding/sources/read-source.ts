import { requireOneOf } from '../../core/index.js';
import type { ImageLimits } from './limits.js';
import { bytesFromBase64, bytesFromMemory } from './memory-source.js';
import { bytesFromPath } from './path-source.js';
import { bytesFromUrl, type ResolveHost } from './url-source.js';

/** Where an image comes from. A path is never fetched and a URL never opened as a file. */
export type SourceKind = 'path' | 'url' | 'base64' | 'bytes';

/** What accompanies one read. */
export interface ReadSourceOptions {
  /** Stops the read; what was opened is closed. */
  readonly signal?: AbortSignal | undefined;
  /** How host names become addresses. The system's resolver by default; tests give their own. */
  readonly resolveHost?: ResolveHost | undefined;
}

/**
 * Brings in the encoded bytes of one image, within the limits and from nowhere else than its kind says. Nothing about the image itself is
 * checked yet: that is the preprocessor's part.
 *
 * **Cancel safety:** cancel safe. An aborted read rejects with `signal.reason` and closes its file or connection.
 *
 * @param kind How `input` is meant.
 * @param input A path, an http(s) URL, base64 or a base64 data URL, or bytes.
 * @param limits What `resolveImageLimits` gave.
 * @param options A signal.
 * @returns The bytes, for `'bytes'` the very same.
 * @throws {@link ImageNotFoundError}, {@link ImageForbiddenError}, {@link ImageUnsupportedError}, {@link ImageReadError} for paths,
 * {@link UrlForbiddenError}, {@link UrlFetchError} for URLs, {@link Base64InvalidError} for base64, and {@link ImageTooLargeError} and
 * {@link ImageCorruptError} (nothing there) for all.
 */
export async function readSource(
  kind: SourceKind,
  input: unknown,
  limits: ImageLimits,
  options: ReadSourceOptions = {},
): Promise<Uint8Array> {
  const { signal, resolveHost } = options;
  signal?.throwIfAborted();
  switch (requireOneOf('Cannot read image', 'kind', kind, ['path', 'url', 'base64', 'bytes'])) {
    case 'path':
      return await bytesFromPath(input, limits, signal);
    case 'url':
      return await bytesFromUrl(input, limits.url, { signal, resolveHost });
    case 'base64':
      return bytesFromBase64(input, limits.maxBytes);
    case 'bytes':
      return bytesFromMemory(input, limits.maxBytes);
  }
}
