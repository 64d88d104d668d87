/** Ollama: `/api/embed` with pictures as data URLs in `input`, or as base64 in `images`; and what its tools ask for beside it. */
import * as v from 'valibot';
import type { ServedModel } from '../catalog.js';
import type { EmbedItem } from '../embed-items.js';
import { type Answer, jsonAnswer } from '../http/answer.js';
import type { ServeRequest } from '../http/serve-request.js';
import type { EmbeddingService } from '../service.js';
import { EXAMPLE_BASE64, EXAMPLE_DATA_URL } from './example-picture.js';
import type { Protocol } from './route.js';

const EmbedRequest = v.looseObject({
  model: v.nullish(v.string()),
  input: v.nullish(v.union([v.string(), v.array(v.string())])),
  /** The extension that people ask Ollama for: pictures in base64. */
  images: v.nullish(v.array(v.string())),
  truncate: v.nullish(v.boolean()),
  dimensions: v.nullish(v.pipe(v.number(), v.integer(), v.minValue(0))),
});

const EmbedResponse = v.object({
  model: v.string(),
  embeddings: v.array(v.array(v.number())),
  total_duration: v.number(),
  load_duration: v.number(),
  prompt_eval_count: v.number(),
});

const EmbeddingsRequest = v.looseObject({
  model: v.nullish(v.string()),
  prompt: v.nullish(v.string()),
  images: v.nullish(v.array(v.string())),
});

const EmbeddingsResponse = v.object({ embedding: v.array(v.number()) });

const Model = v.looseObject({
  name: v.string(),
  model: v.string(),
  modified_at: v.optional(v.string()),
  size: v.number(),
});
const TagsResponse = v.object({ models: v.array(Model) });

const ShowRequest = v.looseObject({ model: v.nullish(v.string()), name: v.nullish(v.string()) });
const ShowResponse = v.looseObject({ details: v.looseObject({}), capabilities: v.array(v.string()) });

async function embed(request: ServeRequest, service: EmbeddingService): Promise<Answer> {
  const started = process.hrtime.bigint();
  const { body, pictures } = await service.readJson(request, EmbedRequest);
  const model = service.catalog.find(body.model);
  const inputs = typeof body.input === 'string' ? [body.input] : (body.input ?? []);
  const items: EmbedItem[] = [
    // An empty one is what clients put beside pictures.
    ...inputs.flatMap((each, index) => (each === '' ? [] : [pictures.textOrPicture(each, `input[${index}]`)])),
    ...(body.images ?? []).map((each, index) => pictures.picture(each, `images[${index}]`)),
  ];
  const vectors = await service.embed(request, model, items, { dimensions: body.dimensions });
  return jsonAnswer({
    model: model.name,
    embeddings: vectors.map((vector) => Array.from(vector)),
    total_duration: Number(process.hrtime.bigint() - started),
    load_duration: 0,
    prompt_eval_count: 0,
  });
}

/** The older route: one input, and an empty vector for an empty one. */
async function embeddings(request: ServeRequest, service: EmbeddingService): Promise<Answer> {
  const { body, pictures } = await service.readJson(request, EmbeddingsRequest);
  const model = service.catalog.find(body.model);
  const [image] = body.images ?? [];
  const { prompt } = body;
  if (image === undefined && (prompt ?? '') === '') return jsonAnswer({ embedding: [] });
  const item =
    image === undefined ? pictures.textOrPicture(prompt as string, 'prompt') : pictures.picture(image, 'images[0]');
  const [vector] = await service.embed(request, model, [item]);
  return jsonAnswer({ embedding: Array.from(vector as Float32Array) });
}

function details({ catalog }: EmbeddingService, model: ServedModel): object {
  const description = catalog.known(model);
  const family = description?.family ?? 'unknown';
  return { format: 'onnx', family, families: [family], parameter_size: '', quantization_level: 'F32' };
}

function listed(service: EmbeddingService, model: ServedModel): object {
  return {
    name: model.name,
    model: model.name,
    modified_at: new Date(0).toISOString(),
    size: 0,
    digest: '',
    details: details(service, model),
  };
}

export const ollama: Protocol = {
  name: 'ollama',
  routes: [
    {
      path: '/api/embed',
      method: 'POST',
      summary: 'Embed pictures: data URLs in `input`, or base64 in `images`.',
      access: 'key',
      isWork: true,
      request: {
        schema: EmbedRequest,
        example: { model: 'default', input: [EXAMPLE_DATA_URL], images: [EXAMPLE_BASE64] },
      },
      response: { schema: EmbedResponse },
      handle: embed,
    },
    {
      path: '/api/embeddings',
      method: 'POST',
      summary: 'Embed one picture.',
      access: 'key',
      isWork: true,
      request: { schema: EmbeddingsRequest, example: { model: 'default', prompt: EXAMPLE_DATA_URL } },
      response: { schema: EmbeddingsResponse },
      handle: embeddings,
    },
    {
      path: '/api/tags',
      method: 'GET',
      summary: 'List the models.',
      access: 'key',
      isWork: false,
      response: { schema: TagsResponse },
      handle: (_, service) => jsonAnswer({ models: service.catalog.models.map((model) => listed(service, model)) }),
    },
    {
      path: '/api/ps',
      method: 'GET',
      summary: 'List the models that have workers.',
      access: 'key',
      isWork: false,
      response: { schema: TagsResponse },
      handle: (_, service) => {
        const loaded = service.catalog.models.filter((model) => service.catalog.known(model) !== undefined);
        return jsonAnswer({ models: loaded.map((model) => ({ ...listed(service, model), size_vram: 0 })) });
      },
    },
    {
      path: '/api/version',
      method: 'GET',
      summary: 'The version of the server.',
      access: 'open',
      isWork: false,
      response: { schema: v.object({ version: v.string() }) },
      handle: (_, { settings }) => jsonAnswer({ version: settings.version }),
    },
    {
      path: '/api/show',
      method: 'POST',
      summary: 'What a model is.',
      access: 'key',
      isWork: false,
      request: { schema: ShowRequest, example: { model: 'default' } },
      response: { schema: ShowResponse },
      handle: async (request, service) => {
        const { body } = await service.readJson(request, ShowRequest);
        const model = service.catalog.find(body.model ?? body.name);
        const { family, dimension } = await service.catalog.describe(model, request.signal);
        return jsonAnswer({
          details: details(service, model),
          model_info: { 'general.architecture': family, [`${family}.embedding_length`]: dimension },
          capabilities: ['embedding', 'vision'],
        });
      },
    },
  ],
  refuse: ({ message }) => ({ body: { error: message } }),
};
