/** One image. */
import type { SourceKind } from '../sources/read-source.js';
import { callOptions, finish } from './embed-call.js';
import { type EmbedOptions, requireEmbedOptions } from './embed-options.js';
import { plainError } from './loaded-model.js';
import type { ModelRegistry } from './model-registry.js';

/** The operations that embed one image. */
export type SingleOperation = 'embedImage' | 'embedImageUrl' | 'embedImageBase64' | 'embedImageBytes';

const SOURCES: Readonly<Record<SingleOperation, { readonly kind: SourceKind; readonly action: string }>> = {
  embedImage: { kind: 'path', action: 'Cannot embed image' },
  embedImageUrl: { kind: 'url', action: 'Cannot embed image from URL' },
  embedImageBase64: { kind: 'base64', action: 'Cannot embed image from base64' },
  embedImageBytes: { kind: 'bytes', action: 'Cannot embed image from bytes' },
};

/** Checks a call and embeds its image. */
export async function embedOne(
  registry: ModelRegistry,
  operation: SingleOperation,
  input: string | Uint8Array,
  options: EmbedOptions | undefined,
): Promise<Float32Array> {
  const { kind, action } = SOURCES[operation];
  const given = requireEmbedOptions<EmbedOptions>(action, options);
  const wanted = kind === 'bytes' ? input instanceof Uint8Array : typeof input === 'string';
  if (!wanted) {
    const expected = kind === 'bytes' ? 'a Uint8Array' : 'a string';
    throw new TypeError(`${action}: input must be ${expected}, received ${typeof input}`);
  }
  const started = performance.now();
  const loaded = registry.ready(given.model) ?? (await registry.load(given));
  const call = callOptions(given, 'normal', performance.now() - started);
  try {
    const raw = await (call.priority === 'batch'
      ? loaded.handle.call('embedBulkImage', { kind, input }, call)
      : loaded.handle.call(operation, input as never, call));
    return finish(raw, given, loaded);
  } catch (error) {
    throw plainError(error);
  }
}
