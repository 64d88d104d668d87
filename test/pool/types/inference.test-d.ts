/**
 * What the compiler must infer from a declaration of operations, through model, worker handle, channels and pool, and what it must refuse. Compiled by
 * `npm run types`; nothing here runs.
 */
import type { mpsc } from '../../../src/channels/index.js';
import { type CallInfo, createPool, type UnaryName } from '../../../src/pool/index.js';
import {
  type AnyRequest,
  answerRequest,
  createBatcher,
  createWorkerChannels,
  type InputOf,
  type ModelOf,
  type OutputOf,
  operation,
  type ReplyStream,
  type RequestOf,
  spawnWorker,
} from '../../../src/worker/index.js';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function holds<_T extends true>(): void {}

interface Image {
  readonly width: number;
}

const operations = {
  embed: operation<string, Float32Array>({ capacity: 64, idempotent: true }),
  resize: operation<{ readonly image: Image; readonly to: number }, Image>(),
  describe: operation.stream<Image, { readonly token: string }>({ chunkCapacity: 4 }),
};
type Ops = typeof operations;

holds<Equal<InputOf<Ops['embed']>, string>>();
holds<Equal<OutputOf<Ops['embed']>, Float32Array>>();
holds<Equal<OutputOf<Ops['describe']>, { readonly token: string }>>();
holds<Equal<UnaryName<Ops>, 'embed' | 'resize'>>();

export async function handle(): Promise<void> {
  const worker = spawnWorker({ operations, module: new URL('./model.js', import.meta.url) });
  const image: Image = { width: 1 };

  const vector = worker.call('embed', 'a');
  holds<Equal<typeof vector, Promise<Float32Array>>>();
  const resized = worker.tryCall('resize', { image, to: 2 }, { timeoutMs: 1 });
  holds<Equal<typeof resized, Promise<Image>>>();
  const tokens = worker.call('describe', image);
  holds<Equal<typeof tokens, ReplyStream<{ readonly token: string }>>>();
  for await (const chunk of tokens) holds<Equal<typeof chunk, { readonly token: string }>>();
  const sent = worker.senders.resize.call({ image, to: 2 });
  holds<Equal<typeof sent, Promise<Image>>>();

  // @ts-expect-error: no such operation
  await worker.call('embedd', 'a');
  // @ts-expect-error: not its input
  await worker.call('embed', 1);
  // @ts-expect-error: a part of its input is missing
  await worker.call('resize', { image });
  // @ts-expect-error: no input at all
  await worker.call('embed');
  // @ts-expect-error: no such option
  await worker.call('embed', 'a', { timeout: 1 });
  // @ts-expect-error: a stream is no promise
  holds<Equal<typeof tokens, Promise<unknown>>>();
  // @ts-expect-error: no such sender
  worker.senders.embedd;
  // @ts-expect-error: a module and a model
  spawnWorker({ operations, module: 1 });
}

export function models(): void {
  const model: ModelOf<Ops> = {
    embed: async (text, { signal }) => {
      holds<Equal<typeof text, string>>();
      holds<Equal<typeof signal, AbortSignal>>();
      return new Float32Array(text.length);
    },
    resize: ({ image, to }) => ({ width: Math.min(image.width, to) }),
    async *describe(image) {
      holds<Equal<typeof image, Image>>();
      yield { token: String(image.width) };
    },
    dispose() {},
  };
  spawnWorker({ operations, host: 'inline', model });
  const { embed, resize } = model;
  // @ts-expect-error: an operation is missing
  spawnWorker({ operations, host: 'inline', model: { embed, resize } });
  // @ts-expect-error: the wrong output
  spawnWorker({ operations, host: 'inline', model: { ...model, embed: async () => 'text' } });
  // @ts-expect-error: the wrong input
  spawnWorker({ operations, host: 'inline', model: { ...model, embed: async (_: number) => new Float32Array() } });
  // @ts-expect-error: one value is no stream
  spawnWorker({ operations, host: 'inline', model: { ...model, describe: async () => ({ token: '' }) } });
}

export async function loops(): Promise<void> {
  const { handle: own, channels } = createWorkerChannels(operations);
  const answer = own.call('resize', { image: { width: 1 }, to: 1 });
  holds<Equal<typeof answer, Promise<Image>>>();
  const { embed, describe } = channels.operations;
  holds<typeof embed extends { recv(): Promise<mpsc.Received<RequestOf<Ops['embed']>>> } ? true : false>();
  const { value } = await embed.recv();
  if (value !== undefined) holds<Equal<typeof value.input, string>>();
  const { value: other } = await describe.recv();
  if (other !== undefined) holds<Equal<typeof other.input, Image>>();
  // @ts-expect-error: no such queue
  channels.operations.embedd;
  if (value !== undefined) holds<Equal<typeof value.operation, 'embed'>>();

  const model = {
    embed: (text: string) => new Float32Array(text.length),
    resize: async ({ image }: InputOf<Ops['resize']>) => image,
    async *describe({ width }: Image) {
      yield { token: String(width) };
    },
  };
  if (value !== undefined && other !== undefined) {
    await answerRequest(value, model);
    await answerRequest(other, model);
    await answerRequest(Math.random() < 0.5 ? value : other, model);
    await answerRequest(value as AnyRequest, {});
    // @ts-expect-error: the model has no such method
    await answerRequest(value, { resize: model.resize });
    // @ts-expect-error: the wrong input
    await answerRequest(value, { embed: (count: number) => new Float32Array(count) });
    // @ts-expect-error: the wrong output
    await answerRequest(value, { embed: (text: string) => text });
    // @ts-expect-error: one value is no stream
    await answerRequest(other, { describe: async () => ({ token: '' }) });
    // @ts-expect-error: enough for one of the two only
    await answerRequest(Math.random() < 0.5 ? value : other, { embed: model.embed });
  }
}

export async function pools(): Promise<void> {
  const pool = createPool();
  const clip = pool.register('clip', { operations, module: new URL('./model.js', import.meta.url) });
  const image: Image = { width: 1 };

  const vector = clip.call('embed', 'a', { priority: 'interactive' });
  holds<Equal<typeof vector, Promise<Float32Array>>>();
  const tokens = clip.call('describe', image);
  holds<Equal<typeof tokens, ReplyStream<{ readonly token: string }>>>();
  const detailed = await clip.callDetailed('resize', { image, to: 2 });
  holds<Equal<typeof detailed, { readonly value: Image; readonly info: CallInfo }>>();

  // Inferred where the operations are written in place, too.
  const text = pool.register('text', {
    operations: { upper: operation<string, string>(), count: operation<string, number>() },
    load: () => ({ upper: (input) => input.toUpperCase(), count: async (input) => input.length }),
  });
  const count = await text.call('count', 'a');
  holds<Equal<typeof count, number>>();

  // @ts-expect-error: no such operation
  await clip.call('embedd', 'a');
  // @ts-expect-error: not its input
  await clip.call('embed', image);
  // @ts-expect-error: no such priority
  await clip.call('embed', 'a', { priority: 'urgent' });
  // @ts-expect-error: a stream has no one answer to be detailed
  await clip.callDetailed('describe', image);
  // @ts-expect-error: of another model
  await text.call('embed', 'a');
  // @ts-expect-error: the model lacks an operation
  pool.register('half', { operations, load: () => ({ embed: (input: string) => new Float32Array(input.length) }) });
  // @ts-expect-error: no such option
  pool.register('misspelt', { operations, module: new URL('./model.js', import.meta.url), maxWorker: 2 });
  // @ts-expect-error: coalesced by an operation that is not there
  pool.register('other', { operations, module: 'file:///model.js', coalesce: { embedd: () => '' } });
}

export async function batches(): Promise<void> {
  const batcher = createBatcher({
    maxBatch: 4,
    run: async (items: readonly Image[]) => items.map(({ width }) => width),
  });
  const width = await batcher.add({ width: 1 });
  holds<Equal<typeof width, number>>();
  // @ts-expect-error: not its item
  await batcher.add('a');
}
