/** Node's types do not have it. */
interface WithWebAssembly {
  readonly WebAssembly: { readonly Module: new (bytes: Uint8Array) => object };
}

/** A WebAssembly module: what a thread can be given and a process can't, and what V8's serialiser writes as nothing without saying so. */
export function makeEmptyModule(): object {
  const { WebAssembly } = globalThis as unknown as WithWebAssembly;
  return new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]));
}
