/**
 * Immich's machine learning container: `/ping` and `/predict`, at the root, as its server calls them. Pictures are embedded here, and words where the model
 * has a text tower; faces and text in pictures go to a fallback, Immich's own container, where one is set.
 */
import * as v from 'valibot';
import { type Answer, jsonAnswer, textAnswer } from '../http/answer.js';
import { type Form, parseForm } from '../http/multipart.js';
import { Refusal } from '../http/refusal.js';
import type { ServeRequest } from '../http/serve-request.js';
import { readImageSize } from '../image-size.js';
import type { EmbeddingService } from '../service.js';
import { validated } from '../validated.js';
import type { Protocol } from './route.js';

const Task = v.looseObject({ modelName: v.string() });
const Entries = v.record(v.string(), v.record(v.string(), v.looseObject({ modelName: v.optional(v.string()) })));
const Clip = v.looseObject({ visual: v.optional(Task), textual: v.optional(Task) });

const PredictResponse = v.object({
  /** The vector as JSON inside a string, as Immich stores it. */
  clip: v.string(),
  imageHeight: v.optional(v.number()),
  imageWidth: v.optional(v.number()),
});

async function predict(request: ServeRequest, service: EmbeddingService): Promise<Answer> {
  const contentType = request.header('content-type');
  const body = await service.readBody(request);
  const form = await parseForm(body, contentType);
  const entries = readEntries(form);
  const clip = entries.clip === undefined ? undefined : validated(Clip, entries.clip, 'entries.clip');
  const tasks = Object.keys(entries);
  if (clip === undefined || tasks.length > 1) {
    const { immichFallback } = service.settings;
    // A vector of its own model would not lie among those of ours: what has the task clip stays here.
    if (clip === undefined && immichFallback !== undefined) {
      return await forward(immichFallback, body, contentType ?? '', request.signal);
    }
    const received = tasks.join(', ').slice(0, 100);
    throw new Refusal('unsupported', `Only the task clip is served here, alone, received ${received}`, {
      code: 'task_unsupported',
    });
  }
  const { visual, textual } = clip;
  const model = service.catalog.find((visual ?? textual)?.modelName, 'entries.clip.modelName');
  if (visual === undefined) {
    const text = form.fields.get('text');
    if (text === undefined) throw new Refusal('invalid', 'The form has no text', { param: 'text' });
    const [vector] = await service.embed(request, model, [{ kind: 'text', text, param: 'text' }]);
    return jsonAnswer({ clip: JSON.stringify(Array.from(vector as Float32Array)) });
  }
  const image = form.files.get('image');
  if (image === undefined) throw new Refusal('invalid', 'The form has no image', { param: 'image' });
  const [vector] = await service.embed(request, model, [{ kind: 'bytes', bytes: image, param: 'image' }]);
  const { width, height } = readImageSize(image) ?? {};
  return jsonAnswer({
    clip: JSON.stringify(Array.from(vector as Float32Array)),
    ...(width === undefined ? {} : { imageHeight: height, imageWidth: width }),
  });
}

function readEntries({ fields, files }: Form): v.InferOutput<typeof Entries> {
  const file = files.get('entries');
  const text = fields.get('entries') ?? (file === undefined ? undefined : Buffer.from(file).toString('utf8'));
  if (text === undefined) throw new Refusal('invalid', 'The form has no entries', { param: 'entries' });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Refusal('invalid', 'entries: expected JSON', { param: 'entries', cause });
  }
  return validated(Entries, value, 'entries');
}

/** Hands a request on to the fallback as it came. */
async function forward(fallback: URL, body: Uint8Array, contentType: string, signal: AbortSignal): Promise<Answer> {
  try {
    const response = await fetch(new URL('/predict', fallback), {
      method: 'POST',
      headers: { 'content-type': contentType },
      body: body as Uint8Array<ArrayBuffer>,
      redirect: 'error',
      signal,
    });
    const type = response.headers.get('content-type') ?? 'application/json';
    return {
      status: response.status,
      headers: { 'content-type': type },
      body: new Uint8Array(await response.arrayBuffer()),
    };
  } catch (cause) {
    signal.throwIfAborted();
    throw new Refusal('failed', 'The fallback for Immich did not answer', { code: 'fallback_failed', cause });
  }
}

export const immich: Protocol = {
  name: 'immich',
  routes: [
    {
      path: '/ping',
      method: 'GET',
      summary: 'Whether the server is there.',
      access: 'open',
      isWork: false,
      response: { contentType: 'text/plain' },
      handle: () => textAnswer('pong'),
    },
    {
      path: '/predict',
      method: 'POST',
      summary: 'Embed a picture: a form with `entries` (the task, as JSON) and `image`.',
      access: 'key',
      isWork: true,
      request: { contentType: 'multipart/form-data' },
      response: { schema: PredictResponse },
      handle: predict,
    },
  ],
  refuse: ({ message }) => ({ body: { detail: message } }),
};
