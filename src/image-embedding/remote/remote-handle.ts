import type { ModelHandle, PoolCallOptions } from '../../pool/index.js';
import type { BulkImage, ImageOperations } from '../operations.js';
import { bytesFromPath, type PathLimits } from '../sources/path-source.js';

/** How an image crosses to another machine. */
const CROSSING = { url: 'embedImageUrl', base64: 'embedImageBase64', bytes: 'embedImageBytes' } as const;

type Send = (operation: string, input: unknown, options: PoolCallOptions) => Promise<unknown>;

/**
 * The model of a service, as the facade calls a local one. A path means a file of this machine: it is read here, within the limits, and its bytes cross.
 * What belongs to a batch crosses as one image of the class `'batch'`.
 */
export function remoteHandle(remote: ModelHandle<ImageOperations>, limits: PathLimits): ModelHandle<ImageOperations> {
  const through =
    (send: Send) =>
    async (operation: string, input: unknown, options: PoolCallOptions = {}): Promise<unknown> => {
      const { kind, value, name } = crossing(operation, input);
      if (kind !== 'path') return await send(name, value, options);
      const started = performance.now();
      const bytes = await bytesFromPath(value, limits, options.signal);
      const { timeoutMs } = options;
      const left = timeoutMs === undefined ? undefined : Math.max(0, timeoutMs - (performance.now() - started));
      return await send('embedImageBytes', bytes, { ...options, timeoutMs: left });
    };
  return Object.freeze({
    key: remote.key,
    operations: remote.operations,
    call: through(remote.call as unknown as Send),
    tryCall: through(remote.tryCall as unknown as Send),
    callDetailed: through(remote.callDetailed as unknown as Send),
  }) as unknown as ModelHandle<ImageOperations>;
}

function crossing(
  operation: string,
  input: unknown,
): { readonly kind: string; readonly value: unknown; readonly name: string } {
  if (operation === 'embedImage') return { kind: 'path', value: input, name: operation };
  if (operation !== 'batchEmbedImages') return { kind: 'value', value: input, name: operation };
  const { kind, input: value } = input as BulkImage;
  return { kind, value, name: kind === 'path' ? operation : CROSSING[kind] };
}
