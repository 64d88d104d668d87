/** Voyage: `/v1/multimodalembeddings`. Its `/v1/embeddings` is that of the OpenAI family. */
import * as v from 'valibot';
import type { EmbedItem } from '../embed-items.js';
import { type Answer, jsonAnswer } from '../http/answer.js';
import { Refusal } from '../http/refusal.js';
import type { ServeRequest } from '../http/serve-request.js';
import { readImageSize } from '../image-size.js';
import type { EmbeddingService } from '../service.js';
import { formVector } from '../vectors.js';
import { EXAMPLE_DATA_URL } from './example-picture.js';
import type { Protocol } from './route.js';

const Content = v.looseObject({
  type: v.optional(v.string()),
  text: v.optional(v.string()),
  image_base64: v.optional(v.string()),
  image_url: v.optional(v.string()),
});

const MultimodalRequest = v.looseObject({
  model: v.nullish(v.string()),
  inputs: v.array(v.looseObject({ content: v.array(Content) })),
  input_type: v.nullish(v.string()),
  output_dimension: v.nullish(v.pipe(v.number(), v.integer(), v.minValue(0))),
  output_encoding: v.nullish(v.literal('base64')),
  truncation: v.nullish(v.boolean()),
});

const MultimodalResponse = v.object({
  object: v.literal('list'),
  data: v.array(
    v.object({
      object: v.literal('embedding'),
      embedding: v.union([v.array(v.number()), v.string()]),
      index: v.number(),
    }),
  ),
  model: v.string(),
  usage: v.object({ text_tokens: v.number(), image_pixels: v.number(), total_tokens: v.number() }),
});

async function embed(request: ServeRequest, service: EmbeddingService): Promise<Answer> {
  const { body, pictures } = await service.readJson(request, MultimodalRequest);
  const model = service.catalog.find(body.model);
  const items = body.inputs.map(({ content }, index): EmbedItem => {
    const [part, second] = content;
    const param = `inputs[${index}].content`;
    if (part === undefined) throw new Refusal('empty', `${param} must not be empty`, { param });
    if (second !== undefined) {
      throw new Refusal('unsupported', `${param}: one embedding is of one picture or of one text`, { param });
    }
    const { text, image_base64, image_url } = part;
    const picture = image_base64 ?? image_url;
    if (picture !== undefined) return pictures.picture(picture, `${param}[0]`);
    if (text !== undefined) return pictures.textOrPicture(text, `${param}[0]`);
    throw new Refusal('invalid', `${param}[0] must have a text, an image_base64 or an image_url`, { param });
  });
  if (items.length === 0) throw new Refusal('empty', 'inputs must not be empty', { param: 'inputs' });
  const vectors = await service.embed(request, model, items, { dimensions: body.output_dimension });
  const form = { type: 'float', isBase64: body.output_encoding === 'base64' } as const;
  let pixels = 0;
  for (const item of items) {
    const { width = 0, height = 0 } = (item.kind === 'bytes' ? readImageSize(item.bytes) : undefined) ?? {};
    pixels += width * height;
  }
  return jsonAnswer({
    object: 'list',
    data: vectors.map((vector, index) => ({ object: 'embedding', embedding: formVector(vector, form), index })),
    model: model.name,
    usage: { text_tokens: 0, image_pixels: pixels, total_tokens: 0 },
  });
}

export const voyage: Protocol = {
  name: 'voyage',
  routes: [
    {
      path: '/v1/multimodalembeddings',
      method: 'POST',
      summary: 'Embed pictures: one data URL in the `content` of each input.',
      access: 'key',
      isWork: true,
      request: {
        schema: MultimodalRequest,
        example: {
          model: 'default',
          inputs: [{ content: [{ type: 'image_base64', image_base64: EXAMPLE_DATA_URL }] }],
        },
      },
      response: { schema: MultimodalResponse },
      handle: embed,
    },
  ],
  refuse: ({ message }) => ({ body: { detail: message } }),
};
