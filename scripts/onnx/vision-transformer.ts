/**
 * Vision transformers of random weights, with the graphs of their families: CLIP, SigLIP, DINOv2 and ViT. Small ones stand in for the real
 * models in tests; a large one costs what the real one costs, for benches. The same configuration gives the same bytes.
 */
import { OnnxBuilder } from './onnx-builder.js';

export type VisionFamily = 'clip' | 'siglip' | 'dinov2' | 'vit';

export interface VisionTransformerConfig {
  readonly family: VisionFamily;
  readonly imageSize: number;
  readonly patchSize: number;
  readonly hiddenSize: number;
  readonly heads: number;
  readonly layers: number;
  readonly mlpSize: number;
  /** The length of `image_embeds`, for CLIP. */
  readonly projectionSize?: number;
  /** CLIP's projection, [hiddenSize, projectionSize], where it is not random. */
  readonly projection?: Float32Array;
  readonly seed: number;
  /** A fixed batch; any by default. */
  readonly batch?: number;
  /** The type of the input (and, for float16, of the output). uint8 models scale to -1..1 inside. */
  readonly inputType?: 'float32' | 'float16' | 'uint8';
  /** The names of the input and of CLIP's output, where an exporter has its own. */
  readonly inputName?: string;
  readonly outputName?: string;
}

/** Numbers from -1 to 1 that are the same on every machine (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2_147_483_648 - 1;
  };
}

class Transformer {
  readonly builder: OnnxBuilder = new OnnxBuilder();
  readonly config: VisionTransformerConfig;
  readonly #random: () => number;

  constructor(config: VisionTransformerConfig) {
    this.config = config;
    this.#random = randomNumbers(config.seed);
  }

  random(name: string, shape: readonly number[], scale: number): string {
    const data = new Float32Array(shape.reduce((product, each) => product * each, 1));
    for (let index = 0; index < data.length; index += 1) data[index] = this.#random() * scale;
    return this.builder.weight(name, shape, data);
  }

  filled(name: string, shape: readonly number[], value: number): string {
    return this.builder.weight(name, shape, new Float32Array(shape.reduce((all, each) => all * each, 1)).fill(value));
  }

  linear(name: string, input: string, from: number, to: number): string {
    const product = this.builder.node('MatMul', [
      input,
      this.random(`${name}.weight`, [from, to], Math.sqrt(3 / from)),
    ]);
    return this.builder.node('Add', [product, this.random(`${name}.bias`, [to], 0.02)]);
  }

  norm(name: string, input: string): string {
    const size = this.config.hiddenSize;
    return this.builder.node(
      'LayerNormalization',
      [input, this.filled(`${name}.weight`, [size], 1), this.filled(`${name}.bias`, [size], 0)],
      { axis: -1, epsilon: { float: 1e-6 } },
    );
  }

  activation(name: string, input: string): string {
    const { builder } = this;
    if (this.config.family === 'clip') {
      const scaled = builder.node('Mul', [input, this.filled(`${name}.quick`, [], 1.702)]);
      return builder.node('Mul', [input, builder.node('Sigmoid', [scaled])]);
    }
    const scaled = builder.node('Mul', [input, this.filled(`${name}.root`, [], Math.SQRT1_2)]);
    const shifted = builder.node('Add', [builder.node('Erf', [scaled]), this.filled(`${name}.one`, [], 1)]);
    return builder.node('Mul', [builder.node('Mul', [input, shifted]), this.filled(`${name}.half`, [], 0.5)]);
  }

  /** Attention of `query` over `memory`, both [batch, tokens, hidden]. */
  attention(name: string, query: string, memory: string): string {
    const { builder } = this;
    const { hiddenSize, heads } = this.config;
    const size = hiddenSize / heads;
    const split = (part: string, source: string, perm: readonly number[]) => {
      const projected = this.linear(`${name}.${part}`, source, hiddenSize, hiddenSize);
      const shape = builder.integers(`${name}.${part}.shape`, [0, -1, heads, size]);
      return builder.node('Transpose', [builder.node('Reshape', [projected, shape])], { perm });
    };
    const q = split('query', query, [0, 2, 1, 3]);
    const k = split('key', memory, [0, 2, 3, 1]);
    const v = split('value', memory, [0, 2, 1, 3]);
    const scores = builder.node('Mul', [
      builder.node('MatMul', [q, k]),
      this.filled(`${name}.scale`, [], 1 / Math.sqrt(size)),
    ]);
    const mixed = builder.node('MatMul', [builder.node('Softmax', [scores], { axis: -1 }), v]);
    const joined = builder.node('Reshape', [
      builder.node('Transpose', [mixed], { perm: [0, 2, 1, 3] }),
      builder.integers(`${name}.join`, [0, -1, hiddenSize]),
    ]);
    return this.linear(`${name}.out`, joined, hiddenSize, hiddenSize);
  }

  mlp(name: string, input: string): string {
    const { hiddenSize, mlpSize } = this.config;
    const inner = this.activation(name, this.linear(`${name}.fc1`, input, hiddenSize, mlpSize));
    return this.linear(`${name}.fc2`, inner, mlpSize, hiddenSize);
  }

  layer(name: string, input: string): string {
    const scaled = (part: string, value: string) =>
      this.config.family === 'dinov2'
        ? this.builder.node('Mul', [value, this.filled(`${name}.${part}.lambda`, [this.config.hiddenSize], 0.7)])
        : value;
    const first = this.norm(`${name}.norm1`, input);
    const attended = this.builder.node('Add', [
      input,
      scaled('attention', this.attention(`${name}.attention`, first, first)),
    ]);
    const second = this.norm(`${name}.norm2`, attended);
    return this.builder.node('Add', [attended, scaled('mlp', this.mlp(`${name}.mlp`, second))]);
  }

  /** A vector repeated for every image of the batch: [batch, 1, hidden]. */
  repeated(name: string, like: string): string {
    const { builder } = this;
    const batch = builder.node('Shape', [like], { start: 0, end: 1 });
    const shape = builder.node('Concat', [batch, builder.integers(`${name}.tail`, [1, this.config.hiddenSize])], {
      axis: 0,
    });
    return builder.node('Expand', [this.random(name, [1, 1, this.config.hiddenSize], 0.5), shape]);
  }

  pixels(): string {
    const { batch = 'batch', imageSize, inputType = 'float32' } = this.config;
    const input = this.builder.input(this.config.inputName ?? 'pixel_values', inputType, [
      batch,
      3,
      imageSize,
      imageSize,
    ]);
    if (inputType === 'float32') return input;
    const float = this.builder.node('Cast', [input], { to: 1 });
    if (inputType === 'float16') return float;
    const scaled = this.builder.node('Mul', [float, this.filled('uint8.scale', [], 2 / 255)]);
    return this.builder.node('Sub', [scaled, this.filled('uint8.shift', [], 1)]);
  }

  output(name: string, value: string, shape: readonly (number | string)[]): void {
    const { batch = 'batch', inputType } = this.config;
    const half = inputType === 'float16';
    if (half) this.builder.node('Cast', [value], { to: 10 }, name);
    else this.builder.node('Identity', [value], {}, name);
    this.builder.output(name, half ? 'float16' : 'float32', [batch, ...shape]);
  }
}

/** Writes a vision transformer as an ONNX model. */
export function buildVisionTransformer(config: VisionTransformerConfig): Uint8Array {
  const model = new Transformer(config);
  const { builder } = model;
  const { family, hiddenSize, patchSize, imageSize, layers, projectionSize = hiddenSize } = config;
  const patches = (imageSize / patchSize) ** 2;
  const tokens = family === 'siglip' ? patches : patches + 1;
  const kernel = model.random(
    'patch.weight',
    [hiddenSize, 3, patchSize, patchSize],
    Math.sqrt(3 / (3 * patchSize * patchSize)),
  );
  const convolved = builder.node('Conv', [model.pixels(), kernel], {
    kernel_shape: [patchSize, patchSize],
    strides: [patchSize, patchSize],
  });
  const flat = builder.node('Reshape', [convolved, builder.integers('patch.shape', [0, hiddenSize, patches])]);
  let hidden = builder.node('Transpose', [flat], { perm: [0, 2, 1] });
  if (family !== 'siglip') hidden = builder.node('Concat', [model.repeated('class', hidden), hidden], { axis: 1 });
  hidden = builder.node('Add', [hidden, model.random('position', [1, tokens, hiddenSize], 0.3)]);
  if (family === 'clip') hidden = model.norm('pre', hidden);
  for (let index = 0; index < layers; index += 1) hidden = model.layer(`layer${index}`, hidden);
  const last = model.norm('post', hidden);
  const first = (value: string) =>
    builder.node('Gather', [value, builder.weight('first', [], BigInt64Array.of(0n))], { axis: 1 });
  if (family === 'clip') {
    const shape = [hiddenSize, projectionSize];
    const projection =
      config.projection === undefined
        ? model.random('projection', shape, Math.sqrt(3 / hiddenSize))
        : builder.weight('projection', shape, config.projection);
    model.output(config.outputName ?? 'image_embeds', builder.node('MatMul', [first(last), projection]), [
      projectionSize,
    ]);
  } else if (family === 'siglip') {
    const pooled = model.attention('head', model.repeated('probe', last), last);
    const residual = builder.node('Add', [pooled, model.mlp('head.mlp', model.norm('head.norm', pooled))]);
    model.output('last_hidden_state', last, [tokens, hiddenSize]);
    model.output('pooler_output', first(residual), [hiddenSize]);
  } else {
    model.output('last_hidden_state', last, [tokens, hiddenSize]);
  }
  return builder.build({ name: family, doc: `A ${family} image encoder of random weights (seed ${config.seed}).` });
}
