/** Text Embeddings Inference of Hugging Face: `/embed`, `/info`; its picture tasks send the picture as the body. */
import * as v from 'valibot';
import { type Answer, jsonAnswer } from '../http/answer.js';
import { Refusal, type RefusalKind } from '../http/refusal.js';
import type { ServeRequest } from '../http/serve-request.js';
import type { EmbeddingService } from '../service.js';
import { EXAMPLE_DATA_URL } from './example-picture.js';
import type { Protocol, Route } from './route.js';

const EmbedRequest = v.looseObject({
  inputs: v.union([v.string(), v.array(v.string())]),
  normalize: v.nullish(v.boolean()),
  truncate: v.nullish(v.boolean()),
  dimensions: v.nullish(v.pipe(v.number(), v.integer(), v.minValue(0))),
  prompt_name: v.nullish(v.string()),
});

const EmbedResponse = v.array(v.array(v.number()));

const InfoResponse = v.looseObject({
  model_id: v.string(),
  model_sha: v.nullable(v.string()),
  model_dtype: v.string(),
  served_model_name: v.string(),
  model_type: v.looseObject({ embedding: v.object({ pooling: v.string() }) }),
  max_concurrent_requests: v.number(),
  max_input_length: v.number(),
  max_batch_tokens: v.number(),
  max_batch_requests: v.nullable(v.number()),
  max_client_batch_size: v.number(),
  auto_truncate: v.boolean(),
  tokenization_workers: v.number(),
  version: v.string(),
});

async function embed(request: ServeRequest, service: EmbeddingService): Promise<Answer> {
  const model = service.catalog.main;
  // Hugging Face's client sends a picture without any content type, and JSON with one.
  const read = await service.readJsonOrPicture(request, EmbedRequest);
  if ('kind' in read) {
    const vectors = await service.embed(request, model, [read]);
    return jsonAnswer(vectors.map((vector) => Array.from(vector)));
  }
  const { body, pictures } = read;
  const { inputs, normalize, dimensions } = body;
  const items =
    typeof inputs === 'string'
      ? [pictures.textOrPicture(inputs, 'inputs')]
      : inputs.map((each, index) => pictures.textOrPicture(each, `inputs[${index}]`));
  if (items.length === 0) throw new Refusal('empty', '`inputs` cannot be empty', { param: 'inputs' });
  const vectors = await service.embed(request, model, items, { normalize: normalize ?? undefined, dimensions });
  return jsonAnswer(vectors.map((vector) => Array.from(vector)));
}

async function info(request: ServeRequest, service: EmbeddingService): Promise<Answer> {
  const { catalog, admission, settings } = service;
  const { name, family } = await catalog.describe(catalog.main, request.signal);
  return jsonAnswer({
    model_id: name,
    model_sha: null,
    model_dtype: 'float32',
    served_model_name: catalog.main.name,
    model_type: { embedding: { pooling: family } },
    max_concurrent_requests: admission.limit,
    max_input_length: 0,
    max_batch_tokens: 0,
    max_batch_requests: null,
    max_client_batch_size: settings.maxPictures,
    auto_truncate: false,
    tokenization_workers: 0,
    version: settings.version,
  });
}

const ERRORS: Readonly<Partial<Record<RefusalKind, readonly [status: number, type: string]>>> = {
  invalid: [422, 'Validation'],
  unsupported: [422, 'Validation'],
  forbidden: [422, 'Validation'],
  'too-large': [413, 'Validation'],
  empty: [400, 'Empty'],
  overloaded: [429, 'Overloaded'],
  closing: [503, 'Unhealthy'],
  timeout: [424, 'Backend'],
  failed: [424, 'Backend'],
};

const embedRoute = {
  method: 'POST',
  summary: 'Embed pictures: data URLs in `inputs`, or one picture as the body.',
  access: 'key',
  isWork: true,
  request: { schema: EmbedRequest, example: { inputs: [EXAMPLE_DATA_URL] } },
  response: { schema: EmbedResponse },
  handle: embed,
} satisfies Omit<Route, 'path'>;

export const tei: Protocol = {
  name: 'tei',
  routes: [
    { path: '/embed', ...embedRoute },
    { path: '/', ...embedRoute },
    {
      path: '/info',
      method: 'GET',
      summary: 'What the main model is.',
      access: 'key',
      isWork: false,
      response: { schema: InfoResponse },
      handle: info,
    },
  ],
  refuse({ kind, status, message }) {
    const [own = status, type = 'Validation'] = ERRORS[kind] ?? [];
    return { status: own, body: { error: message, error_type: type } };
  },
};
