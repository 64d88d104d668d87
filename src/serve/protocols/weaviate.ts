/** Weaviate's modules multi2vec-clip (`/vectorize`) and img2vec-neural (`/vectors`): the containers that Weaviate calls. */
import * as v from 'valibot';
import { type Answer, jsonAnswer } from '../http/answer.js';
import type { ServeRequest } from '../http/serve-request.js';
import type { EmbeddingService } from '../service.js';
import { EXAMPLE_BASE64 } from './example-picture.js';
import type { Protocol } from './route.js';

const VectorizeRequest = v.looseObject({
  texts: v.nullish(v.array(v.string())),
  images: v.nullish(v.array(v.string())),
});

const Vectors = v.array(v.array(v.number()));
const VectorizeResponse = v.object({ textVectors: Vectors, imageVectors: Vectors });

const VectorsRequest = v.looseObject({ id: v.optional(v.union([v.string(), v.number()])), image: v.string() });
const VectorsResponse = v.object({
  id: v.optional(v.union([v.string(), v.number()])),
  vector: v.array(v.number()),
  dim: v.number(),
});

async function vectorize(request: ServeRequest, service: EmbeddingService): Promise<Answer> {
  const { body, pictures } = await service.readJson(request, VectorizeRequest);
  const texts = (body.texts ?? []).map((text, index) => pictures.textOrPicture(text, `texts[${index}]`));
  const images = (body.images ?? []).map((image, index) => pictures.picture(image, `images[${index}]`));
  const vectors = await service.embed(request, service.catalog.main, [...texts, ...images]);
  const lists = vectors.map((vector) => Array.from(vector));
  return jsonAnswer({ textVectors: lists.slice(0, texts.length), imageVectors: lists.slice(texts.length) });
}

async function vectors(request: ServeRequest, service: EmbeddingService): Promise<Answer> {
  const { body, pictures } = await service.readJson(request, VectorsRequest);
  const [vector] = await service.embed(request, service.catalog.main, [pictures.picture(body.image, 'image')]);
  const list = Array.from(vector as Float32Array);
  return jsonAnswer({ id: body.id, vector: list, dim: list.length });
}

export const weaviate: Protocol = {
  name: 'weaviate',
  routes: [
    {
      path: '/vectorize',
      method: 'POST',
      summary: 'multi2vec-clip: embed pictures in base64.',
      access: 'key',
      isWork: true,
      request: { schema: VectorizeRequest, example: { texts: [], images: [EXAMPLE_BASE64] } },
      response: { schema: VectorizeResponse },
      handle: vectorize,
    },
    {
      path: '/vectors',
      method: 'POST',
      summary: 'img2vec-neural: embed one picture in base64.',
      access: 'key',
      isWork: true,
      request: { schema: VectorsRequest, example: { id: 'a', image: EXAMPLE_BASE64 } },
      response: { schema: VectorsResponse },
      handle: vectors,
    },
    {
      path: '/meta',
      method: 'GET',
      summary: 'What the module is.',
      access: 'open',
      isWork: false,
      response: { schema: v.looseObject({}) },
      handle: (_, { catalog, settings }) => {
        const { name, family, dimension } = catalog.known(catalog.main) ?? {};
        return jsonAnswer({ server: 'millrace', version: settings.version, model: { name, family, dimension } });
      },
    },
    {
      path: '/.well-known/live',
      method: 'GET',
      summary: 'Whether the server is there.',
      access: 'open',
      isWork: false,
      response: {},
      handle: () => ({ status: 204, headers: {}, body: '' }),
    },
    {
      path: '/.well-known/ready',
      method: 'GET',
      summary: 'Whether the main model is loaded.',
      access: 'open',
      isWork: true,
      response: {},
      handle: (_, { isWarm }) => ({ status: isWarm ? 204 : 503, headers: {}, body: '' }),
    },
  ],
  refuse: ({ message }) => ({ body: { error: message } }),
};
