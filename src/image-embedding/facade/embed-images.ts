/** Any number of images: what a call of `embedImages()` says, as a stream. */
import { setMaxListeners } from 'node:events';
import { isMillraceError, requireBoolean, requirePositiveInteger } from '../../core/index.js';
import { type EmbedImagesOptions, type EmbedOptions, type ImageInput, requireEmbedOptions } from './embed-options.js';
import { createEmbedStream, type StreamResult } from './embed-stream.js';
import { imageFilesIn } from './image-files.js';

/** A repeater holds at most this many values that nobody has taken. */
const MAX_STREAM_CONCURRENCY = 1_024;

/**
 * Checks a call and makes its stream.
 *
 * @param source Inputs, or the path of a folder.
 * @param options The call's options.
 * @param window How many images are under way when the options do not say it.
 * @param embed Embeds one image.
 */
export function embedImages<Input extends ImageInput>(
  source: Iterable<Input> | AsyncIterable<Input> | string,
  options: EmbedImagesOptions | undefined,
  window: number,
  embed: (input: Input, options: EmbedOptions) => Promise<Float32Array>,
): AsyncIterableIterator<StreamResult<Input>, void, void> {
  const action = 'Cannot embed images';
  const given = requireEmbedOptions<EmbedImagesOptions>(action, options, ['concurrency', 'ordered']);
  const inputs = (typeof source === 'string' ? imageFilesIn(source) : source) as Iterable<Input> | AsyncIterable<Input>;
  if (typeof inputs !== 'object' || inputs === null || !(Symbol.iterator in inputs || Symbol.asyncIterator in inputs)) {
    throw new TypeError(`${action}: source must be an iterable of inputs, or a folder`);
  }
  const { signal, concurrency, ordered, ...rest } = given;
  const controller = new AbortController();
  // Every image under way listens.
  setMaxListeners(0, controller.signal);
  return createEmbedStream<Input>({
    source: inputs,
    concurrency:
      concurrency === undefined
        ? Math.min(window, MAX_STREAM_CONCURRENCY)
        : requirePositiveInteger(action, 'concurrency', concurrency, MAX_STREAM_CONCURRENCY),
    ordered: ordered === undefined ? true : requireBoolean(action, 'ordered', ordered),
    embed: (input, own) => embed(input, { priority: 'batch', ...rest, signal: own }),
    isOwn: isImageFailure,
    signal,
    controller,
  });
}

/** Failures of one image, as opposed to those of the model, the pool or the caller's own arguments. */
function isImageFailure(error: unknown): boolean {
  return (
    (isMillraceError(error) && /^ERR_(IMAGE|URL|BASE64|DEADLINE|WORKER_CRASHED|MODEL_INFERENCE)/.test(error.code)) ||
    error instanceof TypeError
  );
}
