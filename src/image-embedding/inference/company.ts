/**
 * Whether what a graph says of an image depends on the images that it is run with. Operators that quantise as they run take one scale for all
 * numbers of a batch, so a bright neighbour changes the vector of a dark image.
 *
 * The file is protobuf (`onnx.proto`), walked field by field: nodes are looked at, weights are passed over unread, so that a graph of gigabytes
 * takes milliseconds.
 */
import { type FileHandle, open } from 'node:fs/promises';

/** Field numbers of `ModelProto`, `GraphProto` and `NodeProto`. */
const GRAPH = 7;
const FUNCTIONS = 25;
const GRAPH_NODE = 1;
const FUNCTION_NODE = 7;
const OP_TYPE = 4;

/** `DynamicQuantizeLinear` of ONNX, `DynamicQuantizeMatMul` and `DynamicQuantizeLSTM` of onnxruntime. */
const OPERATOR = Buffer.from('DynamicQuantize');

/** Bytes read at once: a node has some hundreds, and most fields begin near the end of the one before. */
const WINDOW_BYTES = 65_536;

/** A node of more bytes holds a constant; what it is called comes long before. */
const MAX_NODE_BYTES = 16_000_000;

/** Whether a graph gives an image a vector that depends on its company; false of what can't be read or is no graph, which its load tells of. */
export async function dependsOnCompany(file: string): Promise<boolean> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(file);
    const { size } = await handle.stat();
    return await searchModel(new Window(handle, size), size);
  } catch {
    return false;
  } finally {
    await handle?.close();
  }
}

async function searchModel(window: Window, end: number): Promise<boolean> {
  for await (const { number, start, length } of fieldsOf(window, 0, end)) {
    if (number === GRAPH && (await searchNodes(window, start, start + length, GRAPH_NODE))) return true;
    if (number === FUNCTIONS && (await searchNodes(window, start, start + length, FUNCTION_NODE))) return true;
  }
  return false;
}

async function searchNodes(window: Window, from: number, to: number, node: number): Promise<boolean> {
  for await (const { number, start, length } of fieldsOf(window, from, to)) {
    if (number !== node) continue;
    const bytes = await window.read(start, Math.min(length, MAX_NODE_BYTES));
    if (hasOperator(bytes)) return true;
  }
  return false;
}

/** Whether a node, or one of the graphs that it holds for its branches, is of such an operator: by its field, and not by what it is named. */
function hasOperator(bytes: Buffer): boolean {
  for (let at = bytes.indexOf(OPERATOR); at >= 0; at = bytes.indexOf(OPERATOR, at + 1)) {
    const length = bytes[at - 1];
    if (bytes[at - 2] === ((OP_TYPE << 3) | 2) && length !== undefined && length < 64) return true;
  }
  return false;
}

interface Field {
  readonly number: number;
  readonly start: number;
  readonly length: number;
}

/** The fields with a length; the others are passed over. */
async function* fieldsOf(window: Window, from: number, to: number): AsyncGenerator<Field, void, void> {
  for (let at = from; at < to; ) {
    const head = await window.read(at, Math.min(20, to - at));
    const tag = varintOf(head, 0);
    const number = Math.floor(tag.value / 8);
    switch (tag.value % 8) {
      case 0:
        at += varintOf(head, tag.end).end;
        break;
      case 1:
        at += tag.end + 8;
        break;
      case 2: {
        const length = varintOf(head, tag.end);
        const start = at + length.end;
        if (start + length.value > to) throw new RangeError('it is cut short');
        yield { number, start, length: length.value };
        at = start + length.value;
        break;
      }
      case 5:
        at += tag.end + 4;
        break;
      default:
        throw new RangeError('it is no protobuf');
    }
  }
}

function varintOf(bytes: Buffer, from: number): { readonly value: number; readonly end: number } {
  let value = 0;
  for (let at = from, scale = 1; at < bytes.length; at += 1, scale *= 128) {
    const byte = bytes[at] as number;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return { value, end: at + 1 };
  }
  throw new RangeError('it is cut short');
}

/** A file, of which a part is in memory. */
class Window {
  readonly #handle: FileHandle;
  readonly #size: number;
  #start = 0;
  #bytes: Buffer = Buffer.alloc(0);

  constructor(handle: FileHandle, size: number) {
    this.#handle = handle;
    this.#size = size;
  }

  async read(start: number, length: number): Promise<Buffer> {
    if (start < this.#start || start + length > this.#start + this.#bytes.length) await this.#move(start, length);
    return this.#bytes.subarray(start - this.#start, start - this.#start + length);
  }

  async #move(start: number, length: number): Promise<void> {
    const wanted = Math.min(Math.max(length, WINDOW_BYTES), this.#size - start);
    const bytes = Buffer.allocUnsafe(wanted);
    const { bytesRead } = await this.#handle.read(bytes, 0, wanted, start);
    if (bytesRead < Math.min(length, wanted)) throw new RangeError('it is cut short');
    this.#start = start;
    this.#bytes = bytes.subarray(0, bytesRead);
  }
}
