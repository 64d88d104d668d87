/** What became of one input: its embedding, or why there is none. */
export type EmbedRecord =
  | { readonly path: string; readonly embedding: Float32Array }
  | { readonly path: string; readonly error: { readonly code: string; readonly message: string } };

/** Where records go, in input order. */
export interface RecordWriter {
  /** Takes one record; the promise settles once the next may come. */
  write(record: EmbedRecord): Promise<void>;
  /**
   * Completes the output.
   *
   * @param isWhole Whether nothing is missing because of a failure. Formats that replace a file do so only then; what there is stays beside it.
   */
  close(isWhole?: boolean): Promise<void>;
}

/** A record as one line of JSON, without its newline. Numbers have the fewest digits that give the same float32 back. */
export function formatRecord(record: EmbedRecord): string {
  const path = JSON.stringify(record.path);
  if ('error' in record) return `{"path":${path},"error":${JSON.stringify(record.error)}}`;
  const { embedding } = record;
  const digits: string[] = new Array(embedding.length);
  for (let index = 0; index < embedding.length; index++) digits[index] = formatFloat32(embedding[index] as number);
  return `{"path":${path},"dim":${embedding.length},"embedding":[${digits.join(',')}]}`;
}

/** The shortest decimal that reads back as the same float32; what JSON cannot say (NaN, infinities) becomes null. */
export function formatFloat32(value: number): string {
  if (!Number.isFinite(value)) return 'null';
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return String(value);
  for (let precision = 7; precision <= 8; precision++) {
    const shorter = Number(value.toPrecision(precision));
    if (Math.fround(shorter) === value) return String(shorter);
  }
  return String(Number(value.toPrecision(9)));
}

/** The record in a line of JSON, or undefined where the line holds none. */
export function parseRecord(line: string): EmbedRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { path, dim, embedding, error } = value as Record<string, unknown>;
  if (typeof path !== 'string') return undefined;
  if (Array.isArray(embedding) && dim === embedding.length) return { path, embedding: Float32Array.from(embedding) };
  if (typeof error === 'object' && error !== null) {
    const { code, message } = error as Record<string, unknown>;
    if (typeof code === 'string' && typeof message === 'string') return { path, error: { code, message } };
  }
  return undefined;
}
