/** NumPy's file format, for one C-ordered matrix of little-endian floats: a header, 128 bytes where it is written here, then the rows. */

/** Bytes before the first row. */
export const NPY_HEADER_BYTES = 128;

/** The header: magic, version, its own length, a Python literal padded with spaces to a newline. */
export function npyHeader(rows: number, columns: number): Buffer {
  const header = Buffer.alloc(NPY_HEADER_BYTES, ' ');
  header.write('\u0093NUMPY\u0001\u0000', 0, 'latin1');
  header.writeUInt16LE(NPY_HEADER_BYTES - 10, 8);
  header.write(`{'descr': '<f4', 'fortran_order': False, 'shape': (${rows}, ${columns}), }`, 10, 'latin1');
  header.write('\n', NPY_HEADER_BYTES - 1, 'latin1');
  return header;
}

/** How a file has its rows. */
export interface NpyLayout {
  readonly rows: number;
  readonly columns: number;
  /** Where the rows begin. */
  readonly offset: number;
  readonly type: 'float32' | 'float16';
}

/** What a header says; undefined where it is none of such a matrix. */
export function parseNpyHeader(bytes: Uint8Array): NpyLayout | undefined {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (text.length < 12 || text.toString('latin1', 0, 6) !== '\u0093NUMPY') return undefined;
  const isLong = text[6] !== 1;
  const start = isLong ? 12 : 10;
  const offset = start + (isLong ? text.readUInt32LE(8) : text.readUInt16LE(8));
  const literal = text.toString('latin1', start, Math.min(offset, text.length));
  const [, rows, columns] = /'shape': \((\d+), ?(\d+),?\)/.exec(literal) ?? [];
  const [, bits] = /'descr': '<f([24])'/.exec(literal) ?? [];
  if (bits === undefined || rows === undefined || !/'fortran_order': False/.test(literal)) return undefined;
  return { rows: Number(rows), columns: Number(columns), offset, type: bits === '2' ? 'float16' : 'float32' };
}
