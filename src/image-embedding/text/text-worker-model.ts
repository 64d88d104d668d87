/** A loaded text tower. */
import { definedOf } from '../../core/index.js';
import type { ModelOf } from '../../worker/index.js';
import { type PickedOutput, pickOutput, poolOutput, type ValueInfo } from '../inference/output.js';
import { type OpenGraph, openGraph, type SessionOptions } from '../inference/session.js';
import { ModelInferenceError, ModelMismatchError } from '../model/model-errors.js';
import type { TextSpec } from './text-spec.js';
import { TextTokenizer } from './text-tokenizer.js';
import type { TextOperations } from './text-vectors.js';

const OUTPUTS = ['text_embeds', 'text_embeddings', 'embedding', 'embeddings', 'pooler_output'];

export class TextSession {
  readonly #graph: OpenGraph;
  readonly #tokenizer: TextTokenizer;
  readonly #ids: ValueInfo;
  readonly #mask: ValueInfo | undefined;
  readonly #output: PickedOutput;
  /** The lengths that the graph is fixed to. */
  readonly #batch: number;
  readonly #length: number | undefined;

  private constructor(graph: OpenGraph, tokenizer: TextTokenizer, spec: TextSpec) {
    this.#graph = graph;
    this.#tokenizer = tokenizer;
    const { inputs } = graph;
    const mask = inputs.find(({ name }) => name === 'attention_mask');
    const [ids, ...more] = inputs.filter((each) => each !== mask);
    if (ids === undefined || more.length > 0 || ids.shape.length !== 2 || !/^int(32|64)$/.test(ids.type)) {
      const found = inputs.map(({ name, type, shape }) => `${name} ${type} [${shape.join(', ')}]`).join(', ');
      throw new ModelMismatchError(`Cannot use text tower: it must have token ids [batch, length], found ${found}`);
    }
    this.#ids = ids;
    this.#mask = mask;
    const [batch, length] = ids.shape;
    this.#batch = typeof batch === 'number' ? batch : 1;
    this.#length = typeof length === 'number' ? length : undefined;
    const named = OUTPUTS.find((name) => graph.outputs.some((each) => each.name === name));
    const only = graph.outputs.length === 1 ? graph.outputs[0]?.name : undefined;
    this.#output = pickOutput(graph.outputs, definedOf({ name: named ?? only }), 'clip_text_model');
    if (this.#output.pooling !== 'none') {
      throw new ModelMismatchError(`Cannot use text tower ${spec.file}: it must have one vector a text`);
    }
  }

  /** Loads a text tower. @throws ModelNotFoundError, ModelCorruptError, ModelMismatchError, ... */
  static async load(spec: TextSpec, options: SessionOptions): Promise<TextSession> {
    const [graph, tokenizer] = await Promise.all([openGraph(spec.file, options), TextTokenizer.load(spec)]);
    try {
      return new TextSession(graph, tokenizer, spec);
    } catch (error) {
      await graph.session.release();
      throw error;
    }
  }

  /** Embeds a text; the vector is not normalised. */
  async embed(text: string): Promise<Float32Array> {
    const { ids, count } = this.#tokenizer.encode(text, this.#length);
    const mask = ids.map((_, at) => (at < count ? 1 : 0));
    const feeds = {
      [this.#ids.name]: this.#tensor(this.#ids, ids),
      ...(this.#mask === undefined ? {} : { [this.#mask.name]: this.#tensor(this.#mask, mask) }),
    };
    const vectors = await this.#graph.run(feeds, this.#output.name).then(
      ({ numbers, dims }) => poolOutput(numbers, dims, 'none', 1),
      (cause: unknown) => {
        throw new ModelInferenceError('Cannot run text tower: onnxruntime failed', { cause });
      },
    );
    const [vector] = vectors as [Float32Array];
    if (!vector.every(Number.isFinite)) {
      throw new ModelInferenceError('Cannot run text tower: its output holds numbers that are not finite');
    }
    return vector;
  }

  /** A batch that is fixed is filled with the same row. */
  #tensor({ type }: ValueInfo, row: readonly number[]): ReturnType<OpenGraph['tensor']> {
    const numbers = Array.from({ length: this.#batch }, () => row).flat();
    const dims = [this.#batch, row.length];
    return type === 'int64'
      ? this.#graph.tensor('int64', BigInt64Array.from(numbers, BigInt), dims)
      : this.#graph.tensor('int32', Int32Array.from(numbers), dims);
  }

  /** Releases the model's memory. */
  async dispose(): Promise<void> {
    await this.#graph.session.release();
  }
}

/** What the module is given; plain data, since it crosses to another process. */
export interface TextWorkerOptions {
  readonly spec: TextSpec;
  readonly session: SessionOptions;
}

/** Loads the text tower. */
export default async function createModel({ spec, session }: TextWorkerOptions): Promise<ModelOf<TextOperations>> {
  const text = await TextSession.load(spec, session);
  return {
    embedText: (input) => text.embed(input),
    dispose: () => text.dispose(),
  };
}
