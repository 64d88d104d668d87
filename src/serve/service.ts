/** What the handlers of all protocols share: bodies in, vectors out, under one admission. */
import type * as v from 'valibot';
import { messageOf } from '../core/index.js';
import type { DetailedEmbedding } from '../image-embedding/index.js';
import { Admission } from './admission.js';
import { Catalog, type ServedModel } from './catalog.js';
import { type EmbedItem, embedItems } from './embed-items.js';
import { ByteBudget } from './http/byte-budget.js';
import { JsonParser } from './http/json-parser.js';
import { Refusal } from './http/refusal.js';
import type { ServeRequest } from './http/serve-request.js';
import type { AccessEntry, ServeSettings } from './options.js';
import { PictureReader } from './pictures.js';
import type { ServePool } from './serve-pool.js';
import { validated } from './validated.js';

/** A body that fits its schema, and what reads the strings in it. */
export interface ReadJson<Schema extends v.GenericSchema> {
  readonly body: v.InferOutput<Schema>;
  readonly pictures: PictureReader;
}

/** How the items of one request are embedded. */
export interface EmbedChoice {
  readonly normalize?: boolean | undefined;
  /** 0 and null are for the full length. */
  readonly dimensions?: number | null | undefined;
}

/** An image or a text that was answered. */
export interface AnsweredItem {
  readonly model: string;
  readonly item: EmbedItem;
  readonly result: DetailedEmbedding | undefined;
  readonly error: Refusal | undefined;
}

/** Watches a server, as the dashboard does. */
export interface ServeObserver {
  /** An image or a text was answered. */
  onItem?(answered: AnsweredItem): void;
  /** A request was answered. */
  onRequest?(entry: AccessEntry): void;
}

/** The pool behind HTTP, seen from a handler. */
export class EmbeddingService {
  readonly pool: ServePool;
  readonly settings: ServeSettings;
  readonly catalog: Catalog;
  readonly admission: Admission;
  readonly bodies: ByteBudget;
  readonly #parser: JsonParser = new JsonParser();
  readonly #observers = new Set<ServeObserver>();
  #isClosing = false;
  #isWarm = false;

  constructor(pool: ServePool, settings: ServeSettings) {
    const { onAccess } = settings;
    if (onAccess !== undefined) this.observe({ onRequest: onAccess });
    this.pool = pool;
    this.settings = settings;
    this.catalog = new Catalog(pool, settings);
    const { timeoutMs } = settings;
    const maxUnderWay = settings.maxUnderWay ?? Math.max(64, 4 * pool.window);
    this.admission = new Admission({ maxUnderWay, timeoutMs, now: () => performance.now() });
    this.bodies = new ByteBudget(settings.maxBodiesBytes);
  }

  /** Whether the server takes no more work. */
  get isClosing(): boolean {
    return this.#isClosing;
  }

  /** Whether the main model has been loaded. */
  get isWarm(): boolean {
    return this.#isWarm;
  }

  /** Tells an observer of every request and of each of its images, until the function that it returns is called. */
  observe(observer: ServeObserver): () => void {
    this.#observers.add(observer);
    return () => this.#observers.delete(observer);
  }

  /** A request was answered. */
  tellRequest(entry: AccessEntry): void {
    for (const each of this.#observers) {
      try {
        each.onRequest?.(entry);
      } catch (error) {
        // The request is answered whatever a log does.
        process.emitWarning(`Cannot log request: ${messageOf(error)}`, { code: 'MILLRACE_ACCESS_LOG' });
      }
    }
  }

  /** Starts a worker of the main model ahead of the first request. */
  async warm(): Promise<void> {
    await this.catalog.describe(this.catalog.main);
    this.#isWarm = true;
  }

  /** Reads a JSON body and checks it. */
  async readJson<Schema extends v.GenericSchema>(request: ServeRequest, schema: Schema): Promise<ReadJson<Schema>> {
    return await this.#parse(await this.readBody(request), request, schema);
  }

  /** Reads a body that is JSON or one picture, whatever its content type says: no picture begins with a bracket. */
  async readJsonOrPicture<Schema extends v.GenericSchema>(
    request: ServeRequest,
    schema: Schema,
  ): Promise<ReadJson<Schema> | EmbedItem> {
    const bytes = await this.readBody(request);
    const first = bytes.find((byte) => byte > 0x20);
    if (first === undefined) throw new Refusal('empty', 'The body must be JSON or a picture, received none');
    return first === 0x7b || first === 0x5b
      ? await this.#parse(bytes, request, schema)
      : { kind: 'bytes', bytes, param: '' };
  }

  /** Reads a body, unless there is no room for what is in it. */
  async readBody(request: ServeRequest): Promise<Uint8Array> {
    this.admission.requireRoom();
    return await request.readBody();
  }

  async #parse<Schema extends v.GenericSchema>(
    bytes: Uint8Array,
    request: ServeRequest,
    schema: Schema,
  ): Promise<ReadJson<Schema>> {
    const parsed = await this.#parser.parse(bytes, request.signal);
    const pictures = new PictureReader(this.#parser, parsed, this.settings.allowUrls);
    return { body: validated(schema, parsed.value), pictures };
  }

  /** Embeds the items of a request. */
  async embed(
    request: ServeRequest,
    model: ServedModel,
    items: readonly EmbedItem[],
    { normalize, dimensions }: EmbedChoice = {},
  ): Promise<Float32Array[]> {
    const { maxPictures, maxTexts, timeoutMs } = this.settings;
    const texts = items.reduce((count, { kind }) => count + (kind === 'text' ? 1 : 0), 0);
    if (items.length - texts > maxPictures) {
      throw new Refusal('invalid', `At most ${maxPictures} pictures are allowed a request`, {
        code: 'too_many_pictures',
      });
    }
    if (texts > maxTexts) {
      throw new Refusal('invalid', `At most ${maxTexts} texts are allowed a request`, { code: 'too_many_texts' });
    }
    if (items.length === 0) return [];
    if (dimensions) await this.#requireDimensions(model, dimensions, request.signal);
    const { signal, traceparent } = request;
    const settings = { model, signal, timeoutMs, normalize, dimensions: dimensions || undefined, traceparent };
    return await embedItems(this.pool, this.admission, items, settings, (item, result, error) => {
      if (error?.code === 'text_unsupported') this.catalog.noteWithoutText(model);
      this.#isWarm ||= error === undefined && model === this.catalog.main;
      for (const each of this.#observers) each.onItem?.({ model: model.name, item, result, error });
    });
  }

  /** Before anything is let in: the pool would find it out for each picture, and has nothing to cut texts by. */
  async #requireDimensions(model: ServedModel, dimensions: number, signal: AbortSignal): Promise<void> {
    const { supportedDimensions } = await this.catalog.describe(model, signal);
    if (supportedDimensions.includes(dimensions)) return;
    const known = supportedDimensions.join(', ');
    throw new Refusal('invalid', `dimensions: expected one of ${known}, received ${dimensions}`, {
      param: 'dimensions',
      code: 'dimensions_unsupported',
    });
  }

  /** From now on work is refused with 503. */
  beginClosing(): void {
    this.#isClosing = true;
  }

  /** Ends what the service has started. */
  async close(): Promise<void> {
    this.beginClosing();
    await this.#parser.close();
  }
}
