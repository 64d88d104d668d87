/** Forms with files (`multipart/form-data`), parsed from a body that is in memory. */
import { Busboy, type BusboyHeaders } from '@fastify/busboy';
import { scheduleMacrotask } from '../../core/index.js';
import { Refusal } from './refusal.js';

/** What a form holds; of several parts of one name, the last. */
export interface Form {
  readonly fields: ReadonlyMap<string, string>;
  readonly files: ReadonlyMap<string, Uint8Array>;
}

/** So many bytes are parsed before the event loop turns. */
const SLICE_BYTES = 262_144;
const MAX_PARTS = 64;
const MAX_FIELD_BYTES = 1_000_000;

/** Parses a form. */
export async function parseForm(body: Uint8Array, contentType: string | undefined): Promise<Form> {
  const fields = new Map<string, string>();
  const files = new Map<string, Uint8Array>();
  let parser: InstanceType<typeof Busboy>;
  try {
    parser = new Busboy({
      headers: { 'content-type': contentType ?? '' } as BusboyHeaders,
      // A file is told by its name or its type; a part without either is a field.
      limits: { parts: MAX_PARTS, fieldSize: MAX_FIELD_BYTES, fileSize: body.byteLength },
    });
  } catch (cause) {
    throw new Refusal('invalid', 'Cannot parse form: the content type must be multipart/form-data with a boundary', {
      cause,
    });
  }
  const parsed = new Promise<void>((resolve, reject) => {
    const fail = (text: string, cause?: unknown): void =>
      reject(new Refusal('invalid', `Cannot parse form: ${text}`, { cause }));
    parser.on('field', (name, value, isNameCut, isValueCut) => {
      if (isNameCut || isValueCut) fail(`a field has more than ${MAX_FIELD_BYTES} bytes`);
      fields.set(name, value);
    });
    parser.on('file', (name, stream) => {
      const chunks: Uint8Array[] = [];
      stream.on('data', (chunk: Uint8Array) => chunks.push(chunk));
      stream.on('end', () => files.set(name, Buffer.concat(chunks)));
      stream.on('error', (error) => fail('a file is cut', error));
    });
    parser.on('partsLimit', () => fail(`at most ${MAX_PARTS} parts are allowed`));
    parser.on('finish', () => resolve());
    parser.on('error', (error) => fail('it is damaged', error));
  });
  parsed.catch(() => {});
  for (let start = 0; start < body.byteLength && parser.writable; start += SLICE_BYTES) {
    parser.write(body.subarray(start, start + SLICE_BYTES));
    if (start + SLICE_BYTES < body.byteLength) await new Promise<void>((resolve) => scheduleMacrotask(resolve));
  }
  parser.end();
  await parsed;
  return { fields, files };
}
