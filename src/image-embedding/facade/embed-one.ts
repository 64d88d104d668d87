/** One image. */
import type { CallInfo, PoolCallOptions } from '../../pool/index.js';
import { callOptions, findModel, finish, timeLeft } from './embed-call.js';
import type { DetailedEmbedding, EmbedOneOptions } from './embed-options.js';
import type { CheckedInput, WorkerInput } from './image-input.js';
import { type LoadedModel, plainError } from './loaded-model.js';
import type { ModelRegistry } from './model-registry.js';
import { discard, movedError, readBytes } from './read-bytes.js';

/** The operations that embed one image, by what it is given as. */
const OPERATIONS = {
  path: 'embedImage',
  url: 'embedImageUrl',
  base64: 'embedImageBase64',
  bytes: 'embedImageBytes',
} as const;

/** One image, checked where the call entered. */
export interface OneImage {
  readonly action: string;
  readonly input: CheckedInput;
  readonly maxBytes: number;
}

/** Embeds an image. */
export async function embedOne(
  registry: ModelRegistry,
  image: OneImage,
  options: Partial<EmbedOneOptions>,
): Promise<Float32Array> {
  const { loaded, input, call } = await makeReady(registry, image, options);
  const { handle } = loaded;
  const send = options.wait === false ? handle.tryCall : handle.call;
  try {
    const raw = await (call.priority === 'batch'
      ? send('batchEmbedImages', input, call)
      : send(OPERATIONS[input.kind], input.input as never, call));
    return finish(raw, options);
  } catch (error) {
    throw plainError(movedError(image.action, error));
  }
}

/** The same, with the worker and the times beside the embedding. */
export async function embedOneDetailed(
  registry: ModelRegistry,
  image: OneImage,
  options: Partial<EmbedOneOptions>,
): Promise<DetailedEmbedding> {
  const { loaded, input, call } = await makeReady(registry, image, options);
  const { handle } = loaded;
  try {
    const { value, info }: { readonly value: Float32Array; readonly info: CallInfo } = await (call.priority === 'batch'
      ? handle.callDetailed('batchEmbedImages', input, call)
      : handle.callDetailed(OPERATIONS[input.kind], input.input as never, call));
    return { embedding: finish(value, options), info };
  } catch (error) {
    throw plainError(movedError(image.action, error));
  }
}

interface ReadyCall {
  readonly loaded: LoadedModel;
  readonly input: WorkerInput;
  readonly call: PoolCallOptions & { readonly priority: 'interactive' | 'normal' | 'batch' };
}

async function makeReady(
  registry: ModelRegistry,
  { action, input, maxBytes }: OneImage,
  options: Partial<EmbedOneOptions>,
): Promise<ReadyCall> {
  const started = performance.now();
  let loaded: LoadedModel;
  try {
    loaded = await findModel(registry, action, options, started);
  } catch (error) {
    if (input.kind === 'unread') discard(input);
    throw error;
  }
  if (input.kind !== 'unread') return { loaded, input, call: callOptions(options, 'normal', started) };
  const limits = { maxBytes, signal: options.signal, timeoutMs: timeLeft(options, started) };
  const bytes = await readBytes(action, input, limits);
  return { loaded, input: { kind: 'bytes', input: bytes }, call: callOptions(options, 'normal', started) };
}
