import type { ModelIdentity } from '../../image-embedding/index.js';

/** The outcome of one input: its embedding and the model that made it, or its error. */
export type EmbedRecord =
  | { readonly path: string; readonly embedding: Float32Array; readonly model?: ModelIdentity | undefined }
  | { readonly path: string; readonly error: { readonly code: string; readonly message: string } };

/** Writes records, in input order. */
export interface RecordWriter {
  /** Writes one record; resolves when it can take the next. */
  write(record: EmbedRecord): Promise<void>;
  /**
   * Completes the output.
   *
   * @param isWhole Whether every record was written. If not, formats that replace a file leave the incomplete one beside it.
   */
  close(isWhole?: boolean): Promise<void>;
}

/** A record as one line of JSON, without its newline. Numbers have the fewest digits that give the same float32 back. */
export function formatRecord(record: EmbedRecord): string {
  const path = toJsonLine(record.path);
  if ('error' in record) return `{"path":${path},"error":${toJsonLine(record.error)}}`;
  const { embedding, model } = record;
  const digits: string[] = new Array(embedding.length);
  for (let index = 0; index < embedding.length; index++) digits[index] = formatFloat32(embedding[index] as number);
  const by = model === undefined ? '' : `"model":${toJsonLine(model)},`;
  return `{"path":${path},${by}"dim":${embedding.length},"embedding":[${digits.join(',')}]}`;
}

/** JSON on one line for every reader: Python's `splitlines()` and Node's `readline` end lines at more characters than LF. */
export function toJsonLine(value: unknown): string {
  return JSON.stringify(value).replace(/[\u0085\u2028\u2029]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

/** The shortest decimal that reads back as the same float32; NaN and infinities become null. */
export function formatFloat32(value: number): string {
  if (!Number.isFinite(value)) return 'null';
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return String(value);
  for (let precision = 7; precision <= 8; precision++) {
    const shorter = Number(value.toPrecision(precision));
    if (Math.fround(shorter) === value) return String(shorter);
  }
  return String(Number(value.toPrecision(9)));
}

/** Parses a record; undefined when the line is none. */
export function parseRecord(line: string): EmbedRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { path, model, dim, embedding, error } = value as Record<string, unknown>;
  if (typeof path !== 'string') return undefined;
  if (Array.isArray(embedding) && dim === embedding.length) {
    const record = { path, embedding: Float32Array.from(embedding) };
    return isIdentity(model) ? { ...record, model } : record;
  }
  if (typeof error === 'object' && error !== null) {
    const { code, message } = error as Record<string, unknown>;
    if (typeof code === 'string' && typeof message === 'string') return { path, error: { code, message } };
  }
  return undefined;
}

function isIdentity(value: unknown): value is ModelIdentity {
  return typeof value === 'object' && value !== null && typeof (value as { digest?: unknown }).digest === 'string';
}
