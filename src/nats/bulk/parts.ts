import { createHash } from 'node:crypto';
import { BulkFormatError } from '../errors.js';
import type { JetStream } from '../jetstream.js';
import {
  type Body,
  type BodyHead,
  type PartsOfBody,
  rawOf,
  readBody,
  valueOfBytes,
  writeBody,
  writeReference,
} from './body.js';
import type { ServiceNames } from './names.js';

const PART_BYTES = 512 * 1024;
/** What a message has beside its payload: subject, headers, head. */
const SPARE_BYTES = 16 * 1024;
/** How many parts are on their way at once. */
const WINDOW = 4;

/** Puts bodies that are larger than a message into parts, and reads them again. */
export class Parts {
  readonly #js: JetStream;
  readonly #names: ServiceNames;
  readonly #store: (subject: string, data: Uint8Array) => Promise<unknown>;

  /** @param store Stores a message; waits where the stream is full. */
  constructor(js: JetStream, names: ServiceNames, store: (subject: string, data: Uint8Array) => Promise<unknown>) {
    this.#js = js;
    this.#names = names;
    this.#store = store;
  }

  /** The message of a job; its parts are stored first, where it needs some. */
  async write(run: string, index: number, head: BodyHead, value: unknown): Promise<Uint8Array> {
    const [, bytes] = rawOf(value);
    const limit = this.#js.nats.server.max_payload - SPARE_BYTES;
    if (bytes.length <= limit) return writeBody(head, value);
    const digest = createHash('sha256').update(bytes).digest('hex');
    const count = Math.ceil(bytes.length / PART_BYTES);
    await eachOf(count, async (part) => {
      const data = bytes.subarray(part * PART_BYTES, (part + 1) * PART_BYTES);
      await this.#store(this.#names.part(run, index, digest, part), data);
    });
    return writeReference(head, value, { digest, count, bytes: bytes.length });
  }

  /** Reads the message of a job, and its parts where it has some. @throws BulkFormatError When a part is missing or not what was stored. */
  async read(run: string, index: number, data: Uint8Array): Promise<Body & { readonly hasParts: boolean }> {
    const body = readBody(data);
    const { parts } = body;
    if (parts === undefined) return { ...body, hasParts: false };
    const bytes = await this.#collect(run, index, parts);
    return { head: body.head, value: valueOfBytes(parts.kind, bytes), hasParts: true };
  }

  async #collect(run: string, index: number, { digest, count, bytes: size }: PartsOfBody): Promise<Uint8Array> {
    const action = `Cannot read job ${index} of run '${run}'`;
    const bytes = new Uint8Array(size);
    await eachOf(count, async (part) => {
      const stored = await this.#js.last(this.#names.parts, this.#names.part(run, index, digest, part));
      const offset = part * PART_BYTES;
      if (stored === undefined) throw new BulkFormatError(`${action}: part ${part + 1} of ${count} is missing`);
      if (offset + stored.data.length > size) throw new BulkFormatError(`${action}: part ${part + 1} is too long`);
      bytes.set(stored.data, offset);
    });
    const found = createHash('sha256').update(bytes).digest('hex');
    if (found !== digest) throw new BulkFormatError(`${action}: its parts are not what was submitted`);
    return bytes;
  }
}

async function eachOf(count: number, run: (part: number) => Promise<void>): Promise<void> {
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < count) await run(next++);
  };
  await Promise.all(Array.from({ length: Math.min(WINDOW, count) }, work));
}
