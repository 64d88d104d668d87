/** Which output of a model is the embedding, and how it becomes one vector per image. */
import { ModelMismatchError } from '../model/model-errors.js';
import type { OutputSpec, Pooling } from '../model/model-spec.js';

/** One input or output of a loaded model: a dimension that is known only at run time is its name, or an empty string. */
export interface ValueInfo {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly (number | string)[];
}

/** The output that was picked. */
export interface PickedOutput {
  readonly name: string;
  readonly type: string;
  readonly pooling: Pooling;
  /** Its length, where the model says it. */
  readonly dimension: number | undefined;
}

const PREFERRED = ['image_embeds', 'image_embeddings', 'embedding', 'embeddings', 'pooler_output', 'last_hidden_state'];

/** Families whose first token stands for the whole image; the others are averaged. */
const CLS_FAMILIES = /^(vit|deit|beit|dinov2|dinov2_with_registers|dinov3_vit|clip.*|chinese_clip.*|blip.*)$/;

/** Renders an input or output for a message: `pixel_values float32 [batch, 3, 224, 224]`. */
export function describeValue(value: ValueInfo): string {
  return `${value.name} ${value.type} [${value.shape.map((each) => (each === '' ? '?' : each)).join(', ')}]`;
}

/**
 * Picks the output that is the embedding.
 *
 * @param outputs All outputs of the model.
 * @param wanted What the spec says of it.
 * @param family The model type, which settles how tokens are pooled when the spec does not.
 * @throws ModelMismatchError When there is no such output, or none that looks like an embedding.
 */
export function pickOutput(outputs: readonly ValueInfo[], wanted: OutputSpec, family: string): PickedOutput {
  const found = outputs.map(describeValue).join(', ');
  const picked = wanted.name === undefined ? preferred(outputs) : outputs.find((each) => each.name === wanted.name);
  if (picked === undefined) {
    const expected =
      wanted.name === undefined ? `an output named ${PREFERRED.join(', ')}` : `an output named ${wanted.name}`;
    throw new ModelMismatchError(
      `Cannot use model: it must have ${expected} (or name one with output: { name }), found ${found}`,
    );
  }
  if (picked.type !== 'float32' && picked.type !== 'float16') {
    throw new ModelMismatchError(
      `Cannot use model: the output ${picked.name} must be float32 or float16, found ${describeValue(picked)}`,
    );
  }
  const rank = picked.shape.length;
  if (rank < 2 || rank > 4) {
    throw new ModelMismatchError(
      `Cannot use model: the output ${picked.name} must be [batch, n], [batch, tokens, n] or [batch, n, rows, columns], found ${describeValue(picked)}`,
    );
  }
  const pooling = poolingOf(picked, wanted.pooling, family);
  const length = rank === 4 ? picked.shape[1] : picked.shape[rank - 1];
  return { name: picked.name, type: picked.type, pooling, dimension: typeof length === 'number' ? length : undefined };
}

function preferred(outputs: readonly ValueInfo[]): ValueInfo | undefined {
  for (const name of PREFERRED) {
    const found = outputs.find((each) => each.name === name);
    if (found !== undefined) return found;
  }
  // The only output is the embedding, unless it says that it is class scores.
  return outputs.length === 1 && outputs[0]?.name !== 'logits' ? outputs[0] : undefined;
}

function poolingOf(output: ValueInfo, wanted: Pooling | undefined, family: string): Pooling {
  const rank = output.shape.length;
  if (rank === 2) {
    if (wanted === undefined || wanted === 'none') return 'none';
    throw new ModelMismatchError(
      `Cannot use model: pooling '${wanted}' needs an output of several vectors, found ${describeValue(output)}`,
    );
  }
  if (wanted === 'none' || (wanted === 'cls' && rank === 4)) {
    throw new ModelMismatchError(
      `Cannot use model: pooling '${wanted}' does not fit the output ${describeValue(output)}`,
    );
  }
  return wanted ?? (rank === 3 && CLS_FAMILIES.test(family) ? 'cls' : 'mean');
}

/**
 * Takes one vector per image out of an output.
 *
 * @param data The output's numbers.
 * @param shape Its shape as it came out.
 * @param pooling How several vectors become one.
 * @param count How many images are wanted; a fixed batch may hold more.
 */
export function poolOutput(
  data: Float32Array,
  shape: readonly number[],
  pooling: Pooling,
  count: number,
): Float32Array<ArrayBuffer>[] {
  const rows = shape[0] ?? 0;
  const perImage = rows === 0 ? 0 : data.length / rows;
  const results: Float32Array<ArrayBuffer>[] = [];
  for (let image = 0; image < count; image += 1) {
    const values = data.subarray(image * perImage, (image + 1) * perImage);
    if (shape.length === 4) results.push(meanOfPlanes(values, shape[1] as number));
    else if (shape.length === 3 && pooling === 'mean') results.push(meanOfTokens(values, shape[2] as number));
    else results.push(values.slice(0, shape.at(-1)) as Float32Array<ArrayBuffer>);
  }
  return results;
}

function meanOfTokens(values: Float32Array, length: number): Float32Array<ArrayBuffer> {
  const result = new Float32Array(length);
  for (let index = 0; index < values.length; index += 1) {
    const place = index % length;
    result[place] = (result[place] as number) + (values[index] as number);
  }
  const tokens = values.length / length;
  for (let place = 0; place < length; place += 1) result[place] = (result[place] as number) / tokens;
  return result;
}

function meanOfPlanes(values: Float32Array, length: number): Float32Array<ArrayBuffer> {
  const result = new Float32Array(length);
  const size = values.length / length;
  for (let plane = 0; plane < length; plane += 1) {
    let sum = 0;
    for (let index = 0; index < size; index += 1) sum += values[plane * size + index] as number;
    result[plane] = sum / size;
  }
  return result;
}
