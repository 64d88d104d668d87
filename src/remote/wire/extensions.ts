/** The msgpack extensions that carry what msgpack has no type for. Their numbers are part of the protocol. */
export const Extension = {
  Undefined: 1,
  Map: 2,
  Set: 3,
  BigInt: 4,
  Error: 5,
  RegExp: 6,
  NegativeZero: 7,
  Date: 8,
  ArrayBuffer: 9,
  DataView: 10,
} as const;

type TypedArrayConstructor = {
  new (buffer: ArrayBuffer, offset: number, length: number): NodeJS.TypedArray;
  readonly BYTES_PER_ELEMENT: number;
};

/** The extensions of the typed arrays: their elements, little-endian. Uint8Array is msgpack's own `bin`. */
const TYPED_ARRAYS: ReadonlyMap<number, TypedArrayConstructor> = new Map<number, TypedArrayConstructor>([
  [16, Int8Array],
  [17, Uint8ClampedArray],
  [18, Int16Array],
  [19, Uint16Array],
  [20, Int32Array],
  [21, Uint32Array],
  [22, Float32Array],
  [23, Float64Array],
  [24, BigInt64Array],
  [25, BigUint64Array],
]);
const TYPES_BY_NAME: ReadonlyMap<string, number> = new Map(
  [...TYPED_ARRAYS].map(([type, { name }]: [number, TypedArrayConstructor & { readonly name?: string }]) => [
    name as string,
    type,
  ]),
);

/** The extension of a typed array; undefined for a Uint8Array, a Buffer, and what this version does not know. */
export function typeOfArray(array: NodeJS.TypedArray): number | undefined {
  return TYPES_BY_NAME.get(array[Symbol.toStringTag]);
}

/** Makes a typed array with memory of its own: the bytes of a message may begin anywhere. Undefined where the type is none. */
export function makeTypedArray(type: number, bytes: Uint8Array): NodeJS.TypedArray | undefined {
  const TypedArray = TYPED_ARRAYS.get(type);
  if (TypedArray === undefined || bytes.length % TypedArray.BYTES_PER_ELEMENT !== 0) return undefined;
  return new TypedArray(ownBuffer(bytes), 0, bytes.length / TypedArray.BYTES_PER_ELEMENT);
}

/** A copy of some bytes in a buffer that holds nothing else. */
export function ownBuffer(bytes: Uint8Array): ArrayBuffer {
  const buffer = new ArrayBuffer(bytes.length);
  new Uint8Array(buffer).set(bytes);
  return buffer;
}
