/**
 * A loaded model. The one file that imports onnxruntime-node, and only when a model is loaded.
 *
 * onnxruntime-node's `create()` and `run()` are synchronous native calls behind a promise: no JavaScript of this process runs meanwhile, so
 * this belongs into a worker's process.
 */
import path from 'node:path';
import { types } from 'node:util';
import type * as Runtime from 'onnxruntime-node';
import {
  type Check,
  definedOf,
  faultOf,
  fillOptions,
  type OptionTable,
  oneOf,
  option,
  requirePositiveInteger,
} from '../../core/index.js';
import { describeLoadFailure, isNativeFailure } from '../image-errors.js';
import { loadKernels } from '../kernels/kernels.js';
import { ModelInferenceError, ModelMismatchError, ModelRuntimeMissingError } from '../model/model-errors.js';
import type { ModelSpec } from '../model/model-spec.js';
import { dependsOnCompany } from './company.js';
import { loadError, requireModelFile } from './load-error.js';
import { describeValue, type PickedOutput, pickOutput, poolOutput, type ValueInfo } from './output.js';
import { fromFloat16, TensorInput } from './tensors.js';

/** The graph of a prepared model, in its folder. */
export const PREPARED_GRAPH: string = 'model.onnx';
/** The weights of a prepared model, in its folder. */
export const PREPARED_WEIGHTS: string = 'weights.bin';

/** How onnxruntime runs a model. */
export interface SessionOptions {
  /** Execution providers, best first, as onnxruntime-node names them: `['cpu']` by default; `'cuda'`, `'coreml'`, `'dml'`, ... */
  readonly executionProviders?: readonly (string | Readonly<Record<string, unknown>>)[] | undefined;
  /** Threads inside one operator, 1 by default: two workers of one thread beat one worker of two. */
  readonly intraOpNumThreads?: number | undefined;
  /** Threads across operators, 1 by default. */
  readonly interOpNumThreads?: number | undefined;
  /** Graph optimisation, `'all'` by default. */
  readonly graphOptimizationLevel?: 'disabled' | 'basic' | 'extended' | 'layout' | 'all' | undefined;
  /** Anything else that onnxruntime takes, given to it as it is. */
  readonly extra?: Readonly<Record<string, unknown>> | undefined;
}

const SESSION_OPTIONS = {
  executionProviders: option(requireProviders),
  intraOpNumThreads: option(requirePositiveInteger),
  interOpNumThreads: option(requirePositiveInteger),
  graphOptimizationLevel: option(oneOf(['disabled', 'basic', 'extended', 'layout', 'all'])),
  extra: option(requireRecord),
} satisfies OptionTable<SessionOptions>;

/** The check of the option `session`; leaves out what is not given. */
export const requireSessionOptions: Check<SessionOptions> = (action, name, value) =>
  definedOf(fillOptions(action, value as SessionOptions, SESSION_OPTIONS, name));

function requireProviders(action: string, name: string, value: unknown): SessionOptions['executionProviders'] {
  if (!Array.isArray(value)) throw faultOf(action, name, 'an array of providers', value);
  return [...value];
}

function requireRecord(action: string, name: string, value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) throw faultOf(action, name, 'an object', value);
  return value as Readonly<Record<string, unknown>>;
}

/** Whether these options run a model on the CPU alone. */
export function isOnCpu({ executionProviders }: SessionOptions): boolean {
  return executionProviders === undefined || executionProviders.every((each) => each === 'cpu');
}

/** What a model takes in: `[batch, 3, height, width]`. */
export interface SessionInput {
  readonly name: string;
  readonly type: 'float32' | 'float16' | 'uint8';
  /** The batch that the model is fixed to; undefined when it takes any. */
  readonly batch: number | undefined;
  readonly width: number;
  readonly height: number;
}

/** What a loaded model is, for people. */
export interface SessionDescription {
  readonly input: SessionInput;
  readonly output: PickedOutput;
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
}

type Native = typeof Runtime;

/**
 * Turns off what onnxruntime reports of its use to its makers, unless the environment has a value already. It reads the environment of the process
 * while it loads, of which a thread changes a copy: for a thread its process has to do it.
 */
export function disableTelemetry(): void {
  process.env.ORT_DISABLE_TELEMETRY ??= '1';
}

/** Loads onnxruntime-node, or says how to install it. */
async function loadRuntime(): Promise<Native> {
  disableTelemetry();
  try {
    return await import('onnxruntime-node');
  } catch (cause) {
    throw runtimeMissing(cause);
  }
}

function runtimeMissing(cause: unknown): ModelRuntimeMissingError {
  return new ModelRuntimeMissingError(`Cannot load model: ${describeLoadFailure('onnxruntime-node', cause)}`, {
    cause,
  });
}

/** The error for a session that could not be made: its native part comes with the first one. */
async function sessionError(file: string, cause: unknown, runtime: Native): Promise<Error> {
  if (isNativeFailure(cause)) return runtimeMissing(cause);
  return loadError(file, cause, runtime.env.versions.node ?? 'unknown');
}

/** An ONNX model of one node, `y = x`. */
const IDENTITY = 'CAg6NwoQCgF4EgF5IghJZGVudGl0eRIBZ1oPCgF4EgoKCAgBEgQKAggBYg8KAXkSCgoICAESBAoCCAFCAhAN';

/** Loads onnxruntime-node ahead of the first model, and its native part, which comes with the first session. */
export async function preloadRuntime(): Promise<void> {
  const { InferenceSession, Tensor } = await loadRuntime();
  const session = await InferenceSession.create(Buffer.from(IDENTITY, 'base64'), { intraOpNumThreads: 1 });
  await session.run({ x: new Tensor('float32', new Float32Array(1), [1]) });
  await session.release();
}

/**
 * A graph that is loaded, whatever goes in.
 *
 * @internal
 */
export interface OpenGraph {
  readonly session: Runtime.InferenceSession;
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  tensor(type: 'int32' | 'int64', data: Int32Array | BigInt64Array, dims: readonly number[]): Runtime.Tensor;
  run(
    feeds: Readonly<Record<string, Runtime.Tensor>>,
    output: string,
  ): Promise<{ readonly numbers: Float32Array; readonly dims: readonly number[] }>;
}

/**
 * Loads a graph that takes something else than images.
 *
 * @throws ModelNotFoundError, ModelCorruptError, ModelLoadError, ModelRuntimeMissingError
 * @internal
 */
export async function openGraph(file: string, options: SessionOptions): Promise<OpenGraph> {
  const runtime = await loadRuntime();
  const session = await createSession(runtime, file, options);
  return {
    session,
    inputs: session.inputMetadata.map(toValueInfo),
    outputs: session.outputMetadata.map(toValueInfo),
    tensor: (type, data, dims) => new runtime.Tensor(type as 'int32', data as Int32Array, dims),
    async run(feeds, output) {
      const result = (await session.run(feeds, [output]))[output] as Runtime.Tensor;
      return { numbers: toFloat32(result), dims: result.dims };
    },
  };
}

async function createSession(
  runtime: Native,
  file: string,
  options: SessionOptions,
): Promise<Runtime.InferenceSession> {
  await requireModelFile(file);
  const { extra, executionProviders, ...rest } = options;
  try {
    return await runtime.InferenceSession.create(file, {
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      logSeverityLevel: 3,
      // A pattern is kept for each size of batch, beside the arena that the first run of it has grown.
      enableMemPattern: false,
      ...definedOf(rest),
      ...extra,
      executionProviders: [...(executionProviders ?? ['cpu'])] as string[],
    });
  } catch (cause) {
    throw await sessionError(file, cause, runtime);
  }
}

/** One model, loaded, checked against its spec, and ready to run. */
export class EmbeddingSession {
  readonly #runtime: Native;
  readonly #session: Runtime.InferenceSession;
  readonly #input: TensorInput;
  readonly description: SessionDescription;
  /** Whether each image is run for itself, because its vector would depend on the others. */
  readonly #isAlone: boolean;

  private constructor(runtime: Native, session: Runtime.InferenceSession, spec: ModelSpec, isAlone: boolean) {
    this.#runtime = runtime;
    this.#session = session;
    this.#isAlone = isAlone;
    const inputs = session.inputMetadata.map(toValueInfo);
    const outputs = session.outputMetadata.map(toValueInfo);
    const input = checkInput(inputs, spec);
    this.#input = new TensorInput(input, spec);
    this.description = { input, output: pickOutput(outputs, spec.output, spec.family), inputs, outputs };
  }

  /**
   * Loads a model and checks that its input and output fit the spec.
   *
   * @param prepared The folder of the same model prepared, if there is one: its weights are mapped, and shared with other processes. When it
   *   can't be loaded the model itself is.
   * @throws ModelNotFoundError, ModelCorruptError, ModelLoadError, ModelMismatchError, ModelRuntimeMissingError
   */
  static async load(spec: ModelSpec, options: SessionOptions = {}, prepared?: string): Promise<EmbeddingSession> {
    // The model itself tells: what a prepared one is run with may have been fused into something else.
    const isAlone = await dependsOnCompany(spec.file);
    if (prepared !== undefined) {
      const file = path.join(prepared, PREPARED_GRAPH);
      try {
        return await EmbeddingSession.#open(
          { ...spec, file },
          { ...options, graphOptimizationLevel: 'disabled' },
          isAlone,
        );
      } catch (cause) {
        if (cause instanceof ModelMismatchError) throw cause;
        process.emitWarning(`${file} could not be loaded, so ${spec.file} is: ${String(cause)}`, 'MillraceWarning');
      }
    }
    return await EmbeddingSession.#open(spec, options, isAlone);
  }

  static async #open(spec: ModelSpec, options: SessionOptions, isAlone: boolean): Promise<EmbeddingSession> {
    const runtime = await loadRuntime();
    await loadKernels();
    const session = await createSession(runtime, spec.file, options);
    try {
      return new EmbeddingSession(runtime, session, spec, isAlone);
    } catch (error) {
      await session.release();
      throw error;
    }
  }

  /**
   * Writes a model as onnxruntime would run it on this machine: optimised, with weights laid out for this CPU in a file of their own, which
   * sessions map instead of reading. The file names are {@link PREPARED_GRAPH} and {@link PREPARED_WEIGHTS}.
   *
   * @throws ModelCorruptError, ModelLoadError, ModelRuntimeMissingError
   */
  static async optimize(file: string, folder: string): Promise<void> {
    const runtime = await loadRuntime();
    await requireModelFile(file);
    try {
      const session = await runtime.InferenceSession.create(file, {
        intraOpNumThreads: 1,
        interOpNumThreads: 1,
        // It warns that the result is for this machine only, as it is meant to be.
        logSeverityLevel: 3,
        graphOptimizationLevel: 'all',
        optimizedModelFilePath: path.join(folder, PREPARED_GRAPH),
        extra: {
          session: {
            save_external_prepacked_constant_initializers: '1',
            optimized_model_external_initializers_file_name: PREPARED_WEIGHTS,
            optimized_model_external_initializers_min_size_in_bytes: '1024',
          },
        },
      });
      await session.release();
    } catch (cause) {
      throw await sessionError(file, cause, runtime);
    }
  }

  /**
   * Embeds images: one run, or several when the model is fixed to a smaller batch, or when its graph would have an image depend on the others.
   * One call at a time: the next is written over its input.
   *
   * @param images RGB bytes, `[height, width, 3]` each.
   * @returns One vector per image, not normalised.
   * @throws ModelInferenceError When the runtime fails, or the output holds a number that is none.
   */
  async run(images: readonly Uint8Array[]): Promise<Float32Array<ArrayBuffer>[]> {
    const { batch } = this.description.input;
    if (this.#isAlone) return this.#runAlone(images, batch ?? 1);
    const step = batch ?? images.length;
    if (step >= images.length) return this.#runOnce(images, batch ?? images.length);
    const results: Float32Array<ArrayBuffer>[] = [];
    for (let start = 0; start < images.length; start += step) {
      results.push(...(await this.#runOnce(images.slice(start, start + step), step)));
    }
    return results;
  }

  /** Runs each image for itself; a batch that is fixed is filled with the same image, which leaves its vector as it is. */
  async #runAlone(images: readonly Uint8Array[], rows: number): Promise<Float32Array<ArrayBuffer>[]> {
    const results: Float32Array<ArrayBuffer>[] = [];
    for (const image of images) {
      const [vector] = await this.#runOnce(new Array<Uint8Array>(rows).fill(image), rows);
      results.push(vector as Float32Array<ArrayBuffer>);
    }
    return results;
  }

  /** Releases the model's memory. */
  async dispose(): Promise<void> {
    await this.#session.release();
  }

  async #runOnce(images: readonly Uint8Array[], rows: number): Promise<Float32Array<ArrayBuffer>[]> {
    const { input, output } = this.description;
    const data = this.#input.write(images, rows);
    let result: Runtime.Tensor | undefined;
    let numbers: Float32Array;
    try {
      const tensor = new this.#runtime.Tensor(input.type as 'float32', data as Float32Array, [
        rows,
        3,
        input.height,
        input.width,
      ]);
      result = (await this.#session.run({ [input.name]: tensor }, [output.name]))[output.name] as Runtime.Tensor;
      numbers = toFloat32(result);
    } catch (cause) {
      throw new ModelInferenceError(`Cannot run model: onnxruntime failed on a batch of ${rows}`, { cause });
    }
    if (result.dims[0] !== rows) {
      throw new ModelInferenceError(
        `Cannot run model: the output ${output.name} must have ${rows} rows, received [${result.dims.join(', ')}]`,
      );
    }
    const vectors = poolOutput(numbers, result.dims, output.pooling, images.length);
    for (const vector of vectors) {
      if (!Number.isFinite(vector.reduce((sum, value) => sum + value, 0))) {
        throw new ModelInferenceError(`Cannot run model: the output ${output.name} holds numbers that are not finite`);
      }
    }
    return vectors;
  }
}

function toValueInfo(value: Runtime.InferenceSession.ValueMetadata): ValueInfo {
  return value.isTensor
    ? { name: value.name, type: value.type, shape: value.shape }
    : { name: value.name, type: 'not a tensor', shape: [] };
}

function toFloat32(tensor: Runtime.Tensor): Float32Array {
  if (tensor.type === 'float32') return tensor.data as Float32Array;
  // Where the engine has Float16Array the data comes in one; elsewhere as the bits.
  const data = tensor.data as unknown as Uint16Array;
  return types.isUint16Array(data) ? fromFloat16(data) : Float32Array.from(data);
}

function checkInput(inputs: readonly ValueInfo[], spec: ModelSpec): SessionInput {
  const { width, height } = spec.preprocess.output;
  const expected = `one input [batch, 3, ${height}, ${width}] of float32, float16 or uint8`;
  const mismatch = (): ModelMismatchError =>
    new ModelMismatchError(
      `Cannot use model: it must have ${expected}, found ${inputs.map(describeValue).join(', ') || 'none'}`,
    );
  const [input] = inputs;
  if (input === undefined || inputs.length !== 1) throw mismatch();
  const [batch, channels, rows, columns] = input.shape;
  const fits = (actual: number | string | undefined, wanted: number) =>
    actual !== undefined && (typeof actual === 'string' || actual === wanted);
  if (input.shape.length !== 4 || !fits(channels, 3) || !fits(rows, height) || !fits(columns, width)) throw mismatch();
  if (input.type !== 'float32' && input.type !== 'float16' && input.type !== 'uint8') throw mismatch();
  return { name: input.name, type: input.type, batch: typeof batch === 'number' ? batch : undefined, width, height };
}
