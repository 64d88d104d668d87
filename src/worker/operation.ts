import {
  describeReceived,
  fillOptions,
  option,
  positiveIntegerUpTo,
  requireBoolean,
  requireFunction,
  requirePositiveInteger,
} from '../core/index.js';
import { byteSizeOf } from './codec/payload.js';

/** How much may wait in an operation's queue: accepted by the worker and not yet taken by its loop. */
export interface OperationCapacity {
  /** Requests. 64 by default. */
  readonly items?: number | undefined;
  /** Bytes of input, as `sizeOf` counts them. Not limited by default. */
  readonly bytes?: number | undefined;
}

/** Options of an operation. */
export interface OperationOptions<Input> {
  /** How much may wait: a number of requests, or requests and bytes. 64 requests by default. */
  readonly capacity?: number | OperationCapacity | undefined;
  /** Whether a request may be run again when the worker that ran it crashed. False by default. */
  readonly idempotent?: boolean | undefined;
  /**
   * How many bytes an input counts for; a size that is no whole number is rounded up. By default the bytes of the buffers, typed arrays and strings (2 a
   * character) in it, three levels deep.
   */
  readonly sizeOf?: ((input: Input) => number) | undefined;
  /**
   * Whether a request spends its time waiting for something else than its model, such as another server. That its deadline passed then says nothing
   * about the model, and a pool's circuit breaker does not count it. False for every input by default.
   */
  readonly waitsForOthers?: ((input: Input) => boolean) | undefined;
}

/** Options of a stream operation. */
export interface StreamOperationOptions<Input> extends OperationOptions<Input> {
  /** How many chunks may wait for the consumer before the model's generator has to. 16 by default. */
  readonly chunkCapacity?: number | undefined;
}

interface OperationBase<Input, Output> {
  readonly capacity: { readonly items: number; readonly bytes: number };
  readonly idempotent: boolean;
  readonly sizeOf: (input: Input) => number;
  readonly waitsForOthers?: ((input: Input) => boolean) | undefined;
  /** Carries the types; never there at run time. */
  readonly '~input'?: (input: Input) => void;
  /** Carries the types; never there at run time. */
  readonly '~output'?: () => Output;
}

/** An operation that answers each request with one value. Made by {@link operation}. */
export interface UnaryOperation<Input, Output> extends OperationBase<Input, Output> {
  readonly kind: 'unary';
}

/** An operation that answers each request with a stream of chunks. Made by {@link operation}`.stream`. */
export interface StreamOperation<Input, Chunk> extends OperationBase<Input, Chunk> {
  readonly kind: 'stream';
  readonly chunkCapacity: number;
}

/** Any operation, whatever its types. */
export type AnyOperation = UnaryOperation<never, unknown> | StreamOperation<never, unknown>;

/** What a worker can do: its operations by name. All types of a worker flow from this record. */
export type Operations = Readonly<Record<string, AnyOperation>>;

/** The input of an operation. */
export type InputOf<O> = O extends { readonly '~input'?: (input: infer Input) => void } ? Input : never;

/** What an operation answers with: its output, or the chunks of its stream. */
export type OutputOf<O> = O extends { readonly '~output'?: () => infer Output } ? Output : never;

/** The names of a worker's operations. */
export type OperationName<Ops extends Operations> = keyof Ops & string;

/**
 * What a call of an operation takes beside its name: the input and options, or nothing where the input is `void` or may be `undefined`. The first is
 * also there for an operation that is not known yet, so that a generic function can pass its input on.
 */
export type CallArguments<O, Options> =
  | [input: InputOf<O>, options?: Options]
  | (unknown extends InputOf<O> ? never : undefined extends InputOf<O> ? [] : never);

/** What {@link operation} is: a function, and the same for streams. */
export interface OperationFactory {
  /** Declares an operation that answers with one value. */
  <Input, Output>(options?: OperationOptions<Input>): UnaryOperation<Input, Output>;
  /** Declares an operation that answers with a stream of chunks. */
  stream<Input, Chunk>(options?: StreamOperationOptions<Input>): StreamOperation<Input, Chunk>;
}

const DEFAULT_ITEMS = 64;
const DEFAULT_CHUNKS = 16;
/** What a channel can hold. */
const MAX_ITEMS = 2 ** 30 - 1;
const CAPACITY_OPTIONS = {
  items: option((action, _name, value) => requirePositiveInteger(action, 'capacity', value, MAX_ITEMS), DEFAULT_ITEMS),
  bytes: option<number>(
    (action, _name, value) => requirePositiveInteger(action, 'capacity in bytes', value),
    Number.POSITIVE_INFINITY,
  ),
};
const OPERATION_OPTIONS = {
  capacity: option(requireCapacity, fillOptions('', undefined, CAPACITY_OPTIONS)),
  idempotent: option(requireBoolean, false),
  sizeOf: option(requireFunction<(input: never) => number>, byteSizeOf),
  waitsForOthers: option(requireFunction<(input: never) => boolean>),
};
const STREAM_OPTIONS = { ...OPERATION_OPTIONS, chunkCapacity: option(positiveIntegerUpTo(MAX_ITEMS), DEFAULT_CHUNKS) };

function requireCapacity(action: string, _name: string, value: unknown): OperationBase<never, never>['capacity'] {
  return fillOptions(action, (typeof value === 'object' ? value : { items: value }) as object, CAPACITY_OPTIONS);
}

function unary<Input, Output>(options?: OperationOptions<Input>): UnaryOperation<Input, Output> {
  const settings = fillOptions('Cannot declare operation', options, OPERATION_OPTIONS);
  // A table knows no type parameters.
  return Object.freeze({ kind: 'unary', ...settings }) as UnaryOperation<never, unknown> as UnaryOperation<
    Input,
    Output
  >;
}

function stream<Input, Chunk>(options?: StreamOperationOptions<Input>): StreamOperation<Input, Chunk> {
  const settings = fillOptions('Cannot declare stream operation', options, STREAM_OPTIONS);
  return Object.freeze({ kind: 'stream', ...settings }) as StreamOperation<never, unknown> as StreamOperation<
    Input,
    Chunk
  >;
}

/**
 * Declares one operation of a worker: the types of its input and output, and how much may wait for it.
 *
 * The types flow from here to the model that has to provide the operation, to the handle that calls it, and to a pool.
 *
 * @param options See {@link OperationOptions}.
 * @returns A frozen declaration, to be put into a record under the operation's name.
 * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown.
 * @example
 * ```ts
 * const operations = {
 *   embed: operation<string, Float32Array>({ capacity: { items: 64, bytes: 64_000_000 }, idempotent: true }),
 *   describe: operation.stream<string, string>({ capacity: 16 }),
 * };
 * operations.embed.capacity.items; // => 64
 * operations.describe.kind; // => 'stream'
 * ```
 */
export const operation: OperationFactory = Object.assign(unary, { stream });

/** Names that a model uses for itself, or that an object can't safely have. */
const RESERVED = new Set(['warmup', 'dispose', 'health', 'then', 'constructor', '__proto__']);

/**
 * Checks a record of operations and freezes a copy of it.
 *
 * @internal
 */
export function requireOperations<Ops extends Operations>(action: string, operations: Ops): Ops {
  if (typeof operations !== 'object' || operations === null || Array.isArray(operations)) {
    throw new TypeError(`${action}: operations must be an object of operations by name`);
  }
  const names = Object.keys(operations);
  if (names.length === 0) throw new TypeError(`${action}: operations must have at least one operation`);
  for (const name of names) {
    // Engines reorder keys that look like integers, which would break the order of a biased select.
    if (RESERVED.has(name) || /^\d+$/.test(name) || name === '') {
      throw new TypeError(`${action}: an operation can't be named '${name}'`);
    }
    const kind = operations[name]?.kind;
    if (kind !== 'unary' && kind !== 'stream') {
      throw new TypeError(`${action}: operation '${name}' must be made by operation() or operation.stream()`);
    }
  }
  return Object.freeze({ ...operations });
}

/**
 * How large an input is, as far as it matters: in whole bytes, so that what is added up is taken off again without a rest. 0 where bytes do not count.
 *
 * @internal
 * @throws What `sizeOf` throws; TypeError, RangeError When it answers with what is no size.
 */
export function inputBytes(name: string, { capacity, sizeOf }: AnyOperation, input: unknown): number {
  if (capacity.bytes === Number.POSITIVE_INFINITY) return 0;
  const bytes: unknown = sizeOf(input as never);
  if (typeof bytes === 'number' && bytes >= 0) return Math.ceil(bytes);
  const message = `Cannot call ${name}: sizeOf must answer a non-negative number of bytes, received ${describeReceived(bytes)}`;
  throw typeof bytes === 'number' ? new RangeError(message) : new TypeError(message);
}

/**
 * Refuses an input that never fits into its operation's queue.
 *
 * @internal
 * @throws RangeError When it is larger than the whole capacity.
 */
export function requireFits(name: string, { capacity }: AnyOperation, bytes: number): void {
  if (bytes <= capacity.bytes) return;
  throw new RangeError(`Cannot call ${name}: input must be at most ${capacity.bytes} bytes, received ${bytes}`);
}
