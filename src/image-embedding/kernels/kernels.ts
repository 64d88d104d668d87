/**
 * The loops over pixels, in WebAssembly for its instructions on 16 bytes at once. Their source is `assembly/`, in AssemblyScript; the build puts
 * `kernels.wasm` beside this file.
 */
import { readFileSync } from 'node:fs';

/** What `assembly/` says of each. Places are bytes from the beginning of the memory. */
interface KernelFunctions {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  scaleRows(
    source: number,
    sourceStride: number,
    rows: number,
    starts: number,
    weights: number,
    groups: number,
    width: number,
    target: number,
    targetStride: number,
  ): void;
  scaleColumns(source: number, stride: number, pairs: number, weights: number, length: number, target: number): void;
  writePlanes8: WritePlanes;
  writePlanes16: WritePlanes;
  writePlanes32: WritePlanes;
}

type WritePlanes = (source: number, pixels: number, tables: number, red: number, green: number, blue: number) => void;

/** What of the engine's global is used: only the types of a browser declare it. */
const { Module, Instance } = (globalThis as unknown as { readonly WebAssembly: WebAssemblyGlobal }).WebAssembly;

interface WebAssemblyGlobal {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: object };
}

const PAGE = 65_536;

let compiled: object | undefined;

function compile(): object {
  compiled ??= new Module(readFileSync(new URL('kernels.wasm', import.meta.url)));
  return compiled;
}

/** The kernels with a memory of their own. */
export class Kernels {
  readonly run: KernelFunctions;
  #bytes: Uint8Array<ArrayBuffer>;

  constructor() {
    this.run = new Instance(compile()).exports as KernelFunctions;
    this.#bytes = new Uint8Array(this.run.memory.buffer);
  }

  /** The memory, until it grows. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  /** Has the memory hold so many bytes at least. What was taken from {@link bytes} before is of no use then. */
  grow(length: number): void {
    const missing = length - this.#bytes.length;
    if (missing <= 0) return;
    this.run.memory.grow(Math.ceil(missing / PAGE));
    this.#bytes = new Uint8Array(this.run.memory.buffer);
  }
}
