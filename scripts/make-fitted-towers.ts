/**
 * A model of two towers that is not random as a whole, for tests of what words find: a vision transformer of random weights whose last projection is
 * fitted, in closed form, to drawings of coloured shapes, and a text tower that knows the words for them. Deterministic, some seconds, no training.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { testModelFiles, testModels } from './make-test-models.js';
import { clipTokenizer } from './make-text-towers.js';
import { OnnxBuilder } from './onnx/onnx-builder.js';
import { buildVisionTransformer, type VisionTransformerConfig } from './onnx/vision-transformer.js';

type Colour = readonly [red: number, green: number, blue: number];

export const COLOURS: Readonly<Record<string, Colour>> = {
  red: [215, 30, 35],
  green: [30, 160, 60],
  blue: [35, 70, 215],
  yellow: [240, 215, 40],
  purple: [140, 40, 170],
  orange: [245, 135, 25],
  white: [245, 245, 245],
  black: [20, 20, 20],
};

/** Whether a point is inside, in units of the shape's radius. */
export const SHAPES: Readonly<Record<string, (x: number, y: number) => boolean>> = {
  circle: (x, y) => x * x + y * y < 1,
  square: (x, y) => Math.abs(x) < 0.9 && Math.abs(y) < 0.9,
  triangle: (x, y) => y < 0.85 && Math.abs(x) < 0.55 * (y + 1),
  ring: (x, y) => x * x + y * y < 1 && x * x + y * y > 0.36,
  cross: (x, y) => (Math.abs(x) < 0.3 && Math.abs(y) < 1) || (Math.abs(y) < 0.3 && Math.abs(x) < 1),
  bar: (x, y) => Math.abs(y) < 0.35 && Math.abs(x) < 1.1,
};

/** The sides of a drawing, in pixels. */
export const SIDE = 32;
const MEAN: Colour = [0.48145466, 0.4578275, 0.40821073];
const STD: Colour = [0.26862954, 0.26130258, 0.27577711];
const WIDTH = 256;
const BATCH = 100;
const DRAWINGS = 4_000;
/** Shapes are told apart less surely than colours: their words count more. */
const SHAPE_WEIGHT = 2;
const RIDGE = 3;

/** Numbers from 0 to 1, the same for a seed. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Draws a shape on a grey ground, somewhere, in some size: RGB, row by row. */
export function draw(colour: string, shape: string, random: () => number): Uint8Array {
  const pixels = new Uint8Array(SIDE * SIDE * 3);
  const ground = 90 + 60 * random();
  const tint = (COLOURS[colour] as Colour).map((each) => each + 24 * (random() - 0.5));
  const isInside = SHAPES[shape] as (x: number, y: number) => boolean;
  const radius = SIDE * (0.28 + 0.14 * random());
  const [left, top] = [0, 0].map(() => SIDE / 2 + (SIDE / 2 - radius) * 0.5 * (2 * random() - 1)) as [number, number];
  for (let at = 0; at < SIDE * SIDE; at++) {
    const [x, y] = [((at % SIDE) + 0.5 - left) / radius, (Math.floor(at / SIDE) + 0.5 - top) / radius];
    for (let channel = 0; channel < 3; channel++) {
      const value = isInside(x, y) ? (tint[channel] as number) : ground;
      pixels[3 * at + channel] = Math.max(0, Math.min(255, Math.round(value + 10 * (random() - 0.5))));
    }
  }
  return pixels;
}

const WORDS: readonly string[] = [...Object.keys(COLOURS), ...Object.keys(SHAPES)];
const COLOUR_COUNT = Object.keys(COLOURS).length;

/** Writes the model in the layout of the hub; answers its folder. */
export async function writeFittedTowers(below: string): Promise<string> {
  const model = testModels.find(({ name }) => name === 'tiny-clip') as (typeof testModels)[number];
  const graph: VisionTransformerConfig = {
    ...model.graph,
    hiddenSize: WIDTH,
    heads: 4,
    mlpSize: 2 * WIDTH,
    projectionSize: WORDS.length,
  };
  const folder = path.join(below, 'fitted-towers');
  await mkdir(path.join(folder, 'onnx'), { recursive: true });
  for (const [file, bytes] of testModelFiles(model)) {
    if (!file.endsWith('.onnx')) await writeFile(path.join(folder, file), bytes);
  }
  const projection = await fitProjection(graph);
  await writeFile(path.join(folder, 'onnx', 'vision_model.onnx'), buildVisionTransformer({ ...graph, projection }));
  const tokenizer = clipTokenizer(mergesOf(WORDS));
  await writeFile(path.join(folder, 'onnx', 'text_model.onnx'), buildText(tokenizer));
  await writeFile(path.join(folder, 'tokenizer.json'), JSON.stringify(tokenizer));
  return folder;
}

/** Merges, in their order, by which each word becomes one token. */
function mergesOf(words: readonly string[]): string[] {
  const merges: string[] = [];
  for (const word of words) {
    for (;;) {
      const parts = merged(
        [...word].map((each, at) => (at === word.length - 1 ? `${each}</w>` : each)),
        merges,
      );
      if (parts.length === 1) break;
      merges.push(`${parts[0]} ${parts[1]}`);
    }
  }
  return merges;
}

/** The parts of a word after the merges: the earliest that applies comes first, as in every BPE. */
function merged(parts: readonly string[], merges: readonly string[]): readonly string[] {
  const pairs = parts.slice(1).map((each, at) => merges.indexOf(`${parts[at]} ${each}`));
  const best = Math.min(...pairs.filter((rank) => rank >= 0));
  const at = pairs.indexOf(best);
  if (at < 0) return parts;
  return merged([...parts.slice(0, at), `${parts[at]}${parts[at + 1]}`, ...parts.slice(at + 2)], merges);
}

/** A vector for each token, added up: those of the words, and nothing for all others. */
function buildText(tokenizer: object): Uint8Array {
  const { vocab } = (tokenizer as { readonly model: { readonly vocab: Readonly<Record<string, number>> } }).model;
  const size = WORDS.length;
  const table = new Float32Array(Object.keys(vocab).length * size);
  for (const [at, word] of WORDS.entries()) {
    const row = vocab[`${word}</w>`] as number;
    const [first, count] = at < COLOUR_COUNT ? [0, COLOUR_COUNT] : [COLOUR_COUNT, size - COLOUR_COUNT];
    const weight = at < COLOUR_COUNT ? 1 : SHAPE_WEIGHT;
    // Against the other colours, or the other shapes.
    for (let other = first; other < first + count; other++) {
      table[row * size + other] = weight * ((other === at ? 1 : 0) - 1 / count);
    }
  }
  const builder = new OnnxBuilder();
  const ids = builder.input('input_ids', 'int64', ['batch', 'length']);
  const rows = builder.node('Gather', [builder.weight('table', [table.length / size, size], table), ids], { axis: 0 });
  builder.node('ReduceSum', [rows, builder.integers('axis', [1])], { keepdims: 0 }, 'text_embeds');
  builder.output('text_embeds', 'float32', ['batch', size]);
  return builder.build({ name: 'fitted-text', doc: 'A text tower of words for colours and shapes, for tests' });
}

/** The projection of the transformer's output to words by ridge regression on drawings: [WIDTH, words], row by row. */
async function fitProjection(graph: VisionTransformerConfig): Promise<Float32Array> {
  const identity = new Float32Array(WIDTH * WIDTH);
  for (let at = 0; at < WIDTH; at++) identity[at * WIDTH + at] = 1;
  const bytes = buildVisionTransformer({ ...graph, projectionSize: WIDTH, projection: identity });
  const session = await InferenceSession.create(bytes);
  const words = WORDS.length;
  const gram = new Float64Array(WIDTH * WIDTH);
  const targets = new Float64Array(WIDTH * words);
  const random = randomOf(7);
  const pick = (names: readonly string[]): string => names[Math.floor(random() * names.length)] as string;
  const plane = SIDE * SIDE;
  for (let done = 0; done < DRAWINGS; done += BATCH) {
    const input = new Float32Array(BATCH * 3 * plane);
    const labels: [number, number][] = [];
    for (let row = 0; row < BATCH; row++) {
      const [colour, shape] = [pick(Object.keys(COLOURS)), pick(Object.keys(SHAPES))];
      labels.push([WORDS.indexOf(colour), WORDS.indexOf(shape)]);
      const pixels = draw(colour, shape, random);
      for (let at = 0; at < 3 * plane; at++) {
        const channel = at % 3;
        const value = ((pixels[at] as number) / 255 - (MEAN[channel] as number)) / (STD[channel] as number);
        input[row * 3 * plane + channel * plane + Math.floor(at / 3)] = value;
      }
    }
    const { image_embeds: output } = await session.run({
      pixel_values: new Tensor('float32', input, [BATCH, 3, SIDE, SIDE]),
    });
    const features = (output as Tensor).data as Float32Array;
    for (const [row, [colour, shape]] of labels.entries()) {
      const own = features.subarray(row * WIDTH, (row + 1) * WIDTH);
      for (let one = 0; one < WIDTH; one++) {
        const value = own[one] as number;
        for (let two = 0; two <= one; two++) {
          gram[one * WIDTH + two] = (gram[one * WIDTH + two] as number) + value * (own[two] as number);
        }
        for (let word = 0; word < words; word++) {
          const share = word < COLOUR_COUNT ? 1 / COLOUR_COUNT : 1 / (words - COLOUR_COUNT);
          const target = (word === colour || word === shape ? 1 : 0) - share;
          targets[one * words + word] = (targets[one * words + word] as number) + value * target;
        }
      }
    }
  }
  await session.release();
  for (let at = 0; at < WIDTH; at++) gram[at * WIDTH + at] = (gram[at * WIDTH + at] as number) + RIDGE;
  return Float32Array.from(solve(gram, targets, WIDTH, words));
}

/** Solves `matrix * x = right` for a symmetric, positive definite matrix of which the lower half is given, by Cholesky's decomposition. */
function solve(matrix: Float64Array, right: Float64Array, size: number, columns: number): Float64Array {
  const lower = matrix.slice();
  const at = (row: number, column: number): number => lower[row * size + column] as number;
  for (let column = 0; column < size; column++) {
    for (let row = column; row < size; row++) {
      let sum = at(row, column);
      for (let k = 0; k < column; k++) sum -= at(row, k) * at(column, k);
      lower[row * size + column] = row === column ? Math.sqrt(sum) : sum / at(column, column);
    }
  }
  const x = right.slice();
  for (let column = 0; column < columns; column++) {
    for (let row = 0; row < size; row++) {
      let sum = x[row * columns + column] as number;
      for (let k = 0; k < row; k++) sum -= at(row, k) * (x[k * columns + column] as number);
      x[row * columns + column] = sum / at(row, row);
    }
    for (let row = size - 1; row >= 0; row--) {
      let sum = x[row * columns + column] as number;
      for (let k = row + 1; k < size; k++) sum -= at(k, row) * (x[k * columns + column] as number);
      x[row * columns + column] = sum / at(row, row);
    }
  }
  return x;
}
