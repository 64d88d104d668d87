/**
 * The loops over pixels, in WebAssembly for its instructions on 16 bytes at once. Their source is `assembly/`, in AssemblyScript; the build puts
 * `kernels.wasm` beside this file.
 */
import { readFile } from 'node:fs/promises';
import { packageFile } from '../../worker/internal.js';
import { ModelLoadError } from '../model/model-errors.js';

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
interface WebAssemblyGlobal {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: object };
}

const PAGE = 65_536;

let compiled: object | undefined;

/**
 * Compiles the kernels, once for the process. Before that there are none.
 *
 * @throws ModelLoadError In a process without WebAssembly.
 */
export async function loadKernels(): Promise<void> {
  if (compiled !== undefined) return;
  const bytes = await readFile(packageFile('image-embedding/kernels/kernels.wasm'));
  compiled ??= attempt(() => new (engine().Module)(bytes));
}

function engine(): WebAssemblyGlobal {
  return (globalThis as unknown as { readonly WebAssembly: WebAssemblyGlobal }).WebAssembly;
}

function attempt<T>(start: () => T): T {
  try {
    return start();
  } catch (cause) {
    throw new ModelLoadError(
      'Cannot load model: WebAssembly does not start in this process; where its address space is limited (ulimit -v) Node needs the flag --disable-wasm-trap-handler, and --jitless it can not have',
      { cause },
    );
  }
}

/** The kernels with a memory of their own, for which the engine reserves 10 GB of addresses. They are loaded first. */
export class Kernels {
  readonly run: KernelFunctions;
  #bytes: Uint8Array<ArrayBuffer>;

  constructor() {
    const module = compiled;
    if (module === undefined) throw new Error('the kernels are made before they are loaded');
    this.run = attempt(() => new (engine().Instance)(module).exports as KernelFunctions);
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
