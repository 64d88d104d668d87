/** Cohere: `/v2/embed`, and `/v1/embed` as LangChain still calls it. */
import { randomUUID } from 'node:crypto';
import * as v from 'valibot';
import type { EmbedItem } from '../embed-items.js';
import { type Answer, jsonAnswer } from '../http/answer.js';
import { Refusal } from '../http/refusal.js';
import type { ServeRequest } from '../http/serve-request.js';
import { readImageSize } from '../image-size.js';
import type { PictureReader } from '../pictures.js';
import type { EmbeddingService } from '../service.js';
import { formVector, type VectorForm } from '../vectors.js';
import { EXAMPLE_DATA_URL } from './example-picture.js';
import type { Protocol, Route } from './route.js';

const TYPES = ['float', 'int8', 'uint8', 'binary', 'ubinary', 'base64'] as const;
type EmbeddingType = (typeof TYPES)[number];

const Content = v.looseObject({
  type: v.optional(v.string()),
  text: v.optional(v.string()),
  image_url: v.optional(v.union([v.string(), v.looseObject({ url: v.string() })])),
});

const EmbedRequest = v.looseObject({
  model: v.nullish(v.string()),
  input_type: v.nullish(v.string()),
  texts: v.nullish(v.array(v.string())),
  images: v.nullish(v.array(v.string())),
  inputs: v.nullish(v.array(v.looseObject({ content: v.array(Content) }))),
  embedding_types: v.nullish(v.array(v.picklist(TYPES))),
  output_dimension: v.nullish(v.pipe(v.number(), v.integer(), v.minValue(0))),
  truncate: v.nullish(v.string()),
});

const Vectors = v.array(v.array(v.number()));
const EmbedResponse = v.looseObject({
  id: v.string(),
  embeddings: v.object({
    float: v.optional(Vectors),
    int8: v.optional(Vectors),
    uint8: v.optional(Vectors),
    binary: v.optional(Vectors),
    ubinary: v.optional(Vectors),
    base64: v.optional(v.array(v.string())),
  }),
  texts: v.array(v.string()),
  images: v.optional(
    v.array(v.object({ width: v.number(), height: v.number(), format: v.string(), bit_depth: v.number() })),
  ),
  response_type: v.literal('embeddings_by_type'),
  meta: v.looseObject({}),
});

type EmbedBody = v.InferOutput<typeof EmbedRequest>;

async function embed(request: ServeRequest, service: EmbeddingService, version: '1' | '2'): Promise<Answer> {
  const { body, pictures } = await service.readJson(request, EmbedRequest);
  const model = service.catalog.find(body.model);
  const items = readItems(body, pictures);
  if (items.length === 0) throw new Refusal('empty', 'one of texts, images and inputs must be provided');
  const vectors = await service.embed(request, model, items, { dimensions: body.output_dimension });
  const types = [...new Set<EmbeddingType>(body.embedding_types ?? ['float'])];
  const forms = types.map((type): [EmbeddingType, VectorForm] => [
    type,
    type === 'base64' ? { type: 'float', isBase64: true } : { type, isBase64: false },
  ]);
  const sizes = items.flatMap((item) => (item.kind === 'bytes' ? [readImageSize(item.bytes)] : []));
  const images = sizes.flatMap((size) => (size === undefined ? [] : [{ ...size, bit_depth: 24 }]));
  return jsonAnswer({
    id: randomUUID(),
    embeddings: Object.fromEntries(
      forms.map(([type, form]) => [type, vectors.map((vector) => formVector(vector, form))]),
    ),
    texts: body.texts ?? [],
    ...(images.length === 0 ? {} : { images }),
    response_type: 'embeddings_by_type',
    meta: { api_version: { version }, billed_units: { images: items.length } },
  });
}

function readItems({ texts, images, inputs }: EmbedBody, pictures: PictureReader): EmbedItem[] {
  return [
    ...(texts ?? []).map((text, index) => pictures.textOrPicture(text, `texts[${index}]`)),
    ...(images ?? []).map((image, index) => pictures.picture(image, `images[${index}]`)),
    ...(inputs ?? []).map(({ content }, index): EmbedItem => {
      const [part, second] = content;
      const param = `inputs[${index}].content`;
      if (part === undefined) throw new Refusal('empty', `${param} must not be empty`, { param });
      if (second !== undefined) {
        throw new Refusal('unsupported', `${param}: one embedding is of one picture or of one text`, { param });
      }
      const { text, image_url } = part;
      const url = typeof image_url === 'object' ? image_url.url : image_url;
      if (url !== undefined) return pictures.picture(url, `${param}[0]`);
      if (text !== undefined) return pictures.textOrPicture(text, `${param}[0]`);
      throw new Refusal('invalid', `${param}[0] must have a text or an image_url`, { param });
    }),
  ];
}

const embedRoute = {
  method: 'POST',
  summary: 'Embed pictures: data URLs in `images` or `inputs`.',
  access: 'key',
  isWork: true,
  request: {
    schema: EmbedRequest,
    example: {
      model: 'default',
      input_type: 'image',
      images: [EXAMPLE_DATA_URL],
      embedding_types: ['float', 'int8', 'ubinary', 'base64'],
    },
  },
  response: { schema: EmbedResponse },
} satisfies Partial<Route>;

export const cohere: Protocol = {
  name: 'cohere',
  routes: [
    { path: '/v2/embed', ...embedRoute, handle: (request, service) => embed(request, service, '2') },
    { path: '/v1/embed', ...embedRoute, handle: (request, service) => embed(request, service, '1') },
  ],
  refuse: ({ message }) => ({ body: { message } }),
};
