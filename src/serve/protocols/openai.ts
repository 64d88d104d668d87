/** The OpenAI family: OpenAI, Infinity, Jina, vLLM, mlx-vlm, and Voyage's embeddings, all at `/v1/embeddings`. */
import { randomUUID } from 'node:crypto';
import * as v from 'valibot';
import type { ServedModel } from '../catalog.js';
import { type Answer, jsonAnswer } from '../http/answer.js';
import { Refusal, type RefusalKind } from '../http/refusal.js';
import type { ServeRequest } from '../http/serve-request.js';
import type { EmbeddingService } from '../service.js';
import { formVector, int8Scale, type VectorForm, type VectorType } from '../vectors.js';
import { EXAMPLE_DATA_URL } from './example-picture.js';
import { Input, Messages, readInput, readMessages } from './openai-input.js';
import type { Protocol, Route } from './route.js';

const Dimensions = v.nullish(v.pipe(v.number(), v.integer(), v.minValue(0)));
const TYPES = ['float', 'int8', 'uint8', 'binary', 'ubinary'] as const;
const Encoding = v.picklist([...TYPES, 'base64']);

const EmbeddingsRequest = v.looseObject({
  model: v.nullish(v.string()),
  input: v.optional(Input),
  messages: v.optional(Messages),
  encoding_format: v.nullish(Encoding),
  /** Jina; LlamaIndex calls it `encoding_type`. */
  embedding_type: v.nullish(Encoding),
  encoding_type: v.nullish(Encoding),
  /** Voyage. */
  output_dtype: v.nullish(v.picklist(TYPES)),
  dimensions: Dimensions,
  output_dimension: Dimensions,
  /** Infinity. */
  modality: v.nullish(v.picklist(['text', 'image'])),
  /** vLLM and Jina. */
  normalize: v.nullish(v.boolean()),
  normalized: v.nullish(v.boolean()),
  embed_dtype: v.nullish(v.literal('float32')),
  endianness: v.nullish(v.picklist(['little', 'native'])),
});

const Vector = v.union([v.array(v.number()), v.string()]);

const EmbeddingsResponse = v.object({
  object: v.literal('list'),
  id: v.string(),
  created: v.number(),
  model: v.string(),
  data: v.array(v.object({ object: v.literal('embedding'), index: v.number(), embedding: Vector })),
  usage: v.object({ prompt_tokens: v.number(), total_tokens: v.number() }),
});

const ModelObject = v.looseObject({
  id: v.string(),
  object: v.literal('model'),
  created: v.number(),
  owned_by: v.string(),
});
const ModelsResponse = v.object({ object: v.literal('list'), data: v.array(ModelObject) });

type EmbeddingsBody = v.InferOutput<typeof EmbeddingsRequest>;

async function embeddings(request: ServeRequest, service: EmbeddingService): Promise<Answer> {
  const read = await service.readJsonOrPicture(request, EmbeddingsRequest);
  if ('kind' in read) {
    const model = service.catalog.find(request.query.get('model'));
    const isBase64 = request.query.get('encoding_format') === 'base64';
    return answerWith(model, await service.embed(request, model, [read]), { type: 'float', isBase64 });
  }
  const { body, pictures } = read;
  const model = service.catalog.find(body.model);
  const rules = { pictures, modality: body.modality ?? undefined };
  if ((body.input === undefined) === (body.messages === undefined)) {
    throw new Refusal('invalid', "The body must have 'input' (or, as vLLM takes it, 'messages')", { param: 'input' });
  }
  const items =
    body.messages === undefined
      ? readInput(body.input as NonNullable<typeof body.input>, rules)
      : [readMessages(body.messages, rules)];
  if (items.length === 0) throw new Refusal('empty', 'input: expected at least one input', { param: 'input' });
  const vectors = await service.embed(request, model, items, {
    normalize: body.normalize ?? body.normalized ?? undefined,
    dimensions: body.dimensions ?? body.output_dimension,
  });
  return answerWith(model, vectors, formOf(body));
}

function formOf({ encoding_format, embedding_type, encoding_type, output_dtype }: EmbeddingsBody): VectorForm {
  const encoding = encoding_format ?? embedding_type ?? encoding_type ?? 'float';
  const type: VectorType = output_dtype ?? (encoding === 'base64' ? 'float' : encoding);
  return { type, isBase64: encoding === 'base64' };
}

function answerWith({ name }: ServedModel, vectors: readonly Float32Array[], form: VectorForm): Answer {
  return jsonAnswer({
    object: 'list',
    id: `emb-${randomUUID()}`,
    created: Math.floor(Date.now() / 1_000),
    model: name,
    data: vectors.map((vector, index) => ({ object: 'embedding', index, embedding: formVector(vector, form) })),
    // Pictures have no tokens.
    usage: { prompt_tokens: 0, total_tokens: 0 },
  });
}

/** The models with what Infinity's clients ask of them, and how quantised vectors are scaled. */
async function models(_: ServeRequest, service: EmbeddingService): Promise<Answer> {
  const { catalog, admission } = service;
  const data = catalog.models.flatMap((model) => {
    const description = catalog.known(model);
    const shared = {
      object: 'model',
      created: STARTED,
      owned_by: 'millrace',
      backend: 'onnxruntime',
      capabilities: catalog.readsText(model) ? ['embed', 'image_embed'] : ['image_embed'],
      stats: {
        queue_fraction: admission.underWay / admission.limit,
        queue_absolute: admission.underWay,
        results_pending: admission.underWay,
        batch_size: service.settings.maxPictures,
      },
      ...(description === undefined
        ? {}
        : { dimensions: description.dimension, int8_scale: int8Scale(description.dimension) }),
    };
    const aliases = catalog.aliasesOf(model).filter((alias) => alias !== '*');
    return [{ id: model.name, ...shared }, ...aliases.map((id) => ({ id, ...shared, root: model.name }))];
  });
  return jsonAnswer({ object: 'list', data });
}

const STARTED = Math.floor(Date.now() / 1_000);

const TYPE_OF: Readonly<Partial<Record<RefusalKind, string>>> = {
  unauthorized: 'authentication_error',
  overloaded: 'rate_limit_error',
  closing: 'server_error',
  timeout: 'server_error',
  failed: 'server_error',
};

/** The words of OpenAI for a refusal. */
export function openaiError({ kind, message, param, code }: Refusal): { readonly body: unknown } {
  const type = TYPE_OF[kind] ?? 'invalid_request_error';
  return { body: { error: { message, type, param: param ?? null, code } } };
}

const embeddingsRoute = {
  method: 'POST',
  summary: 'Embed pictures: data URLs in `input`, objects as Jina and mlx-vlm have them, `messages` as vLLM has them.',
  access: 'key',
  isWork: true,
  request: { schema: EmbeddingsRequest, example: { model: 'default', input: [EXAMPLE_DATA_URL] } },
  response: { schema: EmbeddingsResponse },
  handle: embeddings,
} satisfies Omit<Route, 'path'>;

const modelsRoute = {
  method: 'GET',
  summary: 'List the models.',
  access: 'key',
  isWork: false,
  response: { schema: ModelsResponse },
  handle: models,
} satisfies Omit<Route, 'path'>;

export const openai: Protocol = {
  name: 'openai',
  routes: [
    { path: '/v1/embeddings', ...embeddingsRoute },
    { path: '/embeddings', ...embeddingsRoute },
    { path: '/v1/models', ...modelsRoute },
    { path: '/models', ...modelsRoute },
    {
      path: '/v1/models/{id}',
      method: 'GET',
      summary: 'One model.',
      access: 'key',
      isWork: false,
      response: { schema: ModelObject },
      handle: async (request, service) => {
        const id = request.pathAfter('/v1/models/');
        service.catalog.find(id);
        const { body } = await models(request, service);
        const { data } = JSON.parse(body as string) as { data: { id: string }[] };
        return jsonAnswer(data.find((each) => each.id === id) ?? data[0]);
      },
    },
  ],
  refuse: openaiError,
};
