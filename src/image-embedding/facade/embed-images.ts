/** Any number of images: what a call of `embedImages()` says, as a stream. */
import { setMaxListeners } from 'node:events';
import {
  definedOf,
  isError,
  isMillraceError,
  type MillraceError,
  requireBoolean,
  requirePositiveInteger,
} from '../../core/index.js';
import { findModel } from './embed-call.js';
import { embedOne } from './embed-one.js';
import { type EmbedImagesOptions, requireEmbedOptions } from './embed-options.js';
import { createEmbedStream, type StreamResult } from './embed-stream.js';
import { imageFilesIn } from './image-files.js';
import { callersFolder, checkAny, checkPath, type ImageInput, isUrl } from './image-input.js';
import type { ModelRegistry } from './model-registry.js';

/** A repeater holds at most this many values that nobody has taken. */
const MAX_STREAM_CONCURRENCY = 1_024;

/** What makes a stream of results out of images. */
export interface EmbedImagesParts {
  readonly registry: ModelRegistry;
  readonly maxBytes: number;
  /** How many images are under way when the options do not say it. */
  readonly window: number;
}

const ACTION = 'Cannot embed images';

/**
 * Checks a call and makes its stream.
 *
 * @param source Inputs, or the path of a folder.
 * @param options The call's options.
 */
export function embedImages<Input extends ImageInput>(
  { registry, maxBytes, window }: EmbedImagesParts,
  source: Iterable<Input> | AsyncIterable<Input> | string | URL,
  options: EmbedImagesOptions | undefined,
): AsyncIterableIterator<StreamResult<Input>, void, void> {
  const given = requireEmbedOptions<EmbedImagesOptions>(ACTION, options, ['concurrency', 'ordered']);
  // Relative paths are meant from here, however late they are read.
  const folder = callersFolder();
  // What a folder holds and can't be read is a result with its error, like an image that can't be.
  const unreadable = new Map<unknown, MillraceError>();
  const inputs = sourceOf<Input>(source, folder, unreadable);
  const { signal, concurrency, ordered, ...rest } = given;
  const controller = new AbortController();
  // Every image under way listens.
  setMaxListeners(0, controller.signal);
  return createEmbedStream<Input>({
    source: inputs,
    concurrency:
      concurrency === undefined
        ? Math.min(window, MAX_STREAM_CONCURRENCY)
        : requirePositiveInteger(ACTION, 'concurrency', concurrency, MAX_STREAM_CONCURRENCY),
    ordered: ordered === undefined ? true : requireBoolean(ACTION, 'ordered', ordered),
    prepare: async () => {
      const { model, dimensions } = rest;
      if (dimensions === undefined) return;
      await findModel(
        registry,
        ACTION,
        { ...(model === undefined ? {} : { model }), dimensions, signal: controller.signal },
        0,
      );
    },
    embed: async (value, own) => {
      const error = unreadable.get(value);
      if (error !== undefined) {
        unreadable.delete(value);
        throw error;
      }
      const input = checkAny(ACTION, value, { folder, maxBytes, fetchesUrls: true });
      return embedOne(
        registry,
        { action: ACTION, input, maxBytes },
        { priority: 'batch', ...definedOf(rest), signal: own },
      );
    },
    isOwn: isImageFailure,
    signal,
    controller,
  });
}

function sourceOf<Input extends ImageInput>(
  source: Iterable<Input> | AsyncIterable<Input> | string | URL,
  folder: string | undefined,
  unreadable: Map<unknown, MillraceError>,
): Iterable<Input> | AsyncIterable<Input> {
  if (typeof source === 'string' || isUrl(source)) {
    const { input } = checkPath(ACTION, source, folder);
    return imageFilesIn(input as string, unreadable) as AsyncIterable<string> as AsyncIterable<Input>;
  }
  const isObject = typeof source === 'object' && source !== null && !ArrayBuffer.isView(source);
  if (!isObject || !(Symbol.iterator in source || Symbol.asyncIterator in source)) {
    throw new TypeError(`${ACTION}: source must be an iterable of inputs, or a folder`);
  }
  return source;
}

/**
 * Failures of one image, as opposed to those of the model or the pool. The call's own arguments have been checked by then, so a fault of an
 * argument is about the image, too.
 */
function isImageFailure(error: unknown): boolean {
  if (isMillraceError(error)) {
    return /^ERR_(IMAGE|URL|BASE64|DEADLINE|WORKER_CRASHED|MODEL_INFERENCE)/.test(error.code);
  }
  return isError(error) && (error.name === 'TypeError' || error.name === 'RangeError');
}
