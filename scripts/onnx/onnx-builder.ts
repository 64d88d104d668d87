/**
 * Writes ONNX models: a builder over the part of ONNX's protobuf schema that a plain graph needs. The bytes are deterministic: fields are
 * written in the order of their numbers, nodes and weights in the order they were added.
 *
 * Field numbers are those of `onnx.proto` (ONNX IR version 8).
 */
import protobuf from 'protobufjs';

const SCHEMA = `
syntax = "proto3";
package onnx;
message StringStringEntryProto { string key = 1; string value = 2; }
message OperatorSetIdProto { string domain = 1; int64 version = 2; }
message TensorProto {
  repeated int64 dims = 1 [packed = false];
  int32 data_type = 2;
  string name = 8;
  bytes raw_data = 9;
  repeated StringStringEntryProto external_data = 13;
  int32 data_location = 14;
}
message AttributeProto {
  string name = 1;
  float f = 2;
  int64 i = 3;
  bytes s = 4;
  repeated float floats = 7 [packed = false];
  repeated int64 ints = 8 [packed = false];
  int32 type = 20;
}
message NodeProto {
  repeated string input = 1;
  repeated string output = 2;
  string name = 3;
  string op_type = 4;
  repeated AttributeProto attribute = 5;
}
message TensorShapeProto {
  message Dimension { oneof value { int64 dim_value = 1; string dim_param = 2; } }
  repeated Dimension dim = 1;
}
message TypeProto {
  message Tensor { int32 elem_type = 1; TensorShapeProto shape = 2; }
  oneof value { Tensor tensor_type = 1; }
}
message ValueInfoProto { string name = 1; TypeProto type = 2; }
message GraphProto {
  repeated NodeProto node = 1;
  string name = 2;
  repeated TensorProto initializer = 5;
  repeated ValueInfoProto input = 11;
  repeated ValueInfoProto output = 12;
}
message ModelProto {
  int64 ir_version = 1;
  string producer_name = 2;
  string producer_version = 3;
  string doc_string = 6;
  GraphProto graph = 7;
  repeated OperatorSetIdProto opset_import = 8;
  repeated StringStringEntryProto metadata_props = 14;
}
`;

const ModelProto = protobuf.parse(SCHEMA, { keepCase: true }).root.lookupType('onnx.ModelProto');

/** Element types, with ONNX's numbers. */
export const ELEMENT = { float32: 1, uint8: 2, int8: 3, int32: 6, int64: 7, float16: 10 } as const;
export type ElementType = keyof typeof ELEMENT;

/** A dimension: a size, or the name of one that is known only at run time. */
export type Dimension = number | string;
export type Attribute = number | string | readonly number[] | { readonly float: number };

interface Value {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly Dimension[];
}

/** Gathers nodes and weights, then writes the model. Every method answers the name of the value that it made. */
export class OnnxBuilder {
  readonly #nodes: object[] = [];
  readonly #weights: object[] = [];
  readonly #inputs: Value[] = [];
  readonly #outputs: Value[] = [];
  #count = 0;

  input(name: string, type: ElementType, shape: readonly Dimension[]): string {
    this.#inputs.push({ name, type, shape });
    return name;
  }

  output(name: string, type: ElementType, shape: readonly Dimension[]): string {
    this.#outputs.push({ name, type, shape });
    return name;
  }

  /** Adds a weight. Numbers are stored little-endian in raw form. */
  weight(name: string, shape: readonly number[], data: Float32Array | BigInt64Array | Uint16Array | Int8Array): string {
    const type =
      data instanceof Float32Array
        ? 'float32'
        : data instanceof BigInt64Array
          ? 'int64'
          : data instanceof Int8Array
            ? 'int8'
            : 'float16';
    const size = shape.reduce((product, each) => product * each, 1);
    if (data.length !== size) throw new Error(`${name}: ${data.length} values for the shape [${shape.join(', ')}]`);
    const raw_data = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.#weights.push({ dims: shape, data_type: ELEMENT[type], name, raw_data });
    return name;
  }

  /** A small constant vector of integers, such as a shape. */
  integers(name: string, values: readonly number[]): string {
    return this.weight(
      name,
      [values.length],
      BigInt64Array.from(values, (value) => BigInt(value)),
    );
  }

  /** A weight whose data lies in another file: for models that must be refused. */
  externalWeight(name: string, shape: readonly number[], location: string): string {
    this.#weights.push({
      dims: shape,
      data_type: ELEMENT.float32,
      name,
      external_data: [{ key: 'location', value: location }],
      data_location: 1,
    });
    return name;
  }

  node(
    op: string,
    inputs: readonly string[],
    attributes: Record<string, Attribute> = {},
    output?: string,
    further: readonly string[] = [],
  ): string {
    const name = output ?? `${op.toLowerCase()}_${this.#count}`;
    this.#count += 1;
    this.#nodes.push({
      input: inputs,
      output: [name, ...further],
      name: `${op}_${this.#count}`,
      op_type: op,
      attribute: Object.entries(attributes).map(([key, value]) => attributeOf(key, value)),
    });
    return name;
  }

  /** The bytes of the model. */
  build(description: { readonly name: string; readonly doc: string; readonly opset?: number }): Uint8Array {
    const message = {
      ir_version: 8,
      producer_name: 'millrace',
      doc_string: description.doc,
      graph: {
        node: this.#nodes,
        name: description.name,
        initializer: this.#weights,
        input: this.#inputs.map(valueInfo),
        output: this.#outputs.map(valueInfo),
      },
      opset_import: [{ domain: '', version: description.opset ?? 17 }],
    };
    return ModelProto.encode(ModelProto.fromObject(message)).finish();
  }
}

function attributeOf(name: string, value: Attribute): object {
  if (typeof value === 'number') return { name, i: value, type: 2 };
  if (typeof value === 'string') return { name, s: new TextEncoder().encode(value), type: 3 };
  if ('float' in value) return { name, f: value.float, type: 1 };
  return { name, ints: value, type: 7 };
}

function valueInfo(value: Value): object {
  const dim = value.shape.map((each) => (typeof each === 'number' ? { dim_value: each } : { dim_param: each }));
  return { name: value.name, type: { tensor_type: { elem_type: ELEMENT[value.type], shape: { dim } } } };
}
