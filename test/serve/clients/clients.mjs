// Packages that people have, each pointed at a server as its own documentation says. Plain JavaScript: they are installed here only, and have types of their own.
import { createRequire } from 'node:module';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { HuggingfaceServerEmbeddingFunction } from '@chroma-core/huggingface-server';
import { OllamaEmbeddingFunction } from '@chroma-core/ollama';
import { OpenAIEmbeddingFunction } from '@chroma-core/openai';
import { InferenceClient } from '@huggingface/inference';
import { CohereEmbeddings } from '@langchain/cohere';
import { OllamaEmbeddings } from '@langchain/ollama';
import { OpenAIEmbeddings } from '@langchain/openai';
import { JinaAIEmbedding } from '@llamaindex/jinaai';
import { OpenAIEmbedding } from '@llamaindex/openai';
import { embedMany } from 'ai';
import { CohereClientV2 } from 'cohere-ai';
import { Ollama } from 'ollama';
import OpenAI from 'openai';
import { VoyageAIClient } from 'voyageai';

const require = createRequire(import.meta.url);
// The one that LangChain has inside: its class is given a client.
const { CohereClient } = createRequire(require.resolve('@langchain/cohere'))('cohere-ai');

const apiKey = 'not-asked-for';
const isPicture = (input) => input.startsWith('data:image/');

/**
 * A client: `embed(url, model, inputs, signal)` answers the vectors of texts and of pictures as data URLs.
 *
 * - `asks`: the form that it asks for on the wire.
 * - `retries`: whether it tries again after 429; `aborts`: whether a call can be given up.
 * - `tries`: how many requests it makes where a picture is refused, 1 if it is left out.
 * - `error`: what its user sees of a picture that cannot be decoded; `busy`: of 429, where it does not try again.
 */
export const clients = [
  {
    name: 'openai',
    asks: 'base64',
    retries: true,
    aborts: true,
    async embed(url, model, input, signal) {
      const client = new OpenAI({ baseURL: `${url}/v1`, apiKey });
      const { data } = await client.embeddings.create({ model, input }, { signal });
      return data.map(({ embedding }) => embedding);
    },
  },
  {
    name: 'openai asked for floats',
    package: 'openai',
    asks: 'float',
    retries: true,
    aborts: true,
    async embed(url, model, input, signal) {
      const client = new OpenAI({ baseURL: `${url}/v1`, apiKey });
      const { data } = await client.embeddings.create({ model, input, encoding_format: 'float' }, { signal });
      return data.map(({ embedding }) => embedding);
    },
  },
  {
    name: '@langchain/openai',
    asks: 'base64',
    retries: true,
    aborts: false,
    embed: (url, model, inputs) =>
      new OpenAIEmbeddings({ model, apiKey, configuration: { baseURL: `${url}/v1` } }).embedDocuments(inputs),
  },
  {
    name: 'ai',
    also: ['@ai-sdk/openai-compatible'],
    asks: 'float',
    retries: true,
    aborts: true,
    async embed(url, model, values, abortSignal) {
      const millrace = createOpenAICompatible({ name: 'millrace', baseURL: `${url}/v1` });
      const { embeddings } = await embedMany({ model: millrace.textEmbeddingModel(model), values, abortSignal });
      return embeddings;
    },
  },
  {
    name: '@llamaindex/openai',
    asks: 'base64',
    retries: true,
    aborts: false,
    embed: (url, model, inputs) =>
      new OpenAIEmbedding({ model, apiKey, baseURL: `${url}/v1` }).getTextEmbeddingsBatch(inputs),
  },
  {
    name: '@chroma-core/openai',
    asks: 'base64',
    retries: true,
    aborts: false,
    embed: (url, modelName, inputs) =>
      new OpenAIEmbeddingFunction({ modelName, apiKey, apiBase: `${url}/v1` }).generate(inputs),
  },
  {
    name: '@llamaindex/jinaai',
    // Any other is refused pictures by the package itself.
    model: 'jina-clip-v1',
    asks: 'float',
    retries: false,
    aborts: false,
    busy: /429/,
    async embed(url, model, inputs) {
      const client = new JinaAIEmbedding({ apiKey, model, baseURL: `${url}/v1/embeddings` });
      return inputs.every(isPicture) ? await client.getImageEmbeddings(inputs) : await client.getTextEmbeddings(inputs);
    },
  },
  {
    name: 'cohere-ai',
    asks: 'float',
    retries: true,
    aborts: true,
    async embed(url, model, inputs, abortSignal) {
      const client = new CohereClientV2({ token: apiKey, environment: url });
      const what = inputs.every(isPicture)
        ? { inputType: 'image', images: inputs }
        : { inputType: 'search_query', texts: inputs };
      const { embeddings } = await client.embed({ model, embeddingTypes: ['float'], ...what }, { abortSignal });
      return embeddings.float;
    },
  },
  {
    name: '@langchain/cohere',
    asks: 'float',
    retries: true,
    aborts: false,
    embed: (url, model, inputs) =>
      new CohereEmbeddings({
        model,
        client: new CohereClient({ token: apiKey, environment: url }),
      }).embedDocuments(inputs),
  },
  {
    name: 'ollama',
    asks: 'float',
    retries: false,
    aborts: true,
    busy: /as many images/,
    async embed(url, model, input, signal) {
      // `Ollama.abort()` ends streams only: a call is given up by the `fetch` that it is given.
      const client = new Ollama({ host: url, fetch: (at, init) => fetch(at, { ...init, signal }) });
      return (await client.embed({ model, input })).embeddings;
    },
  },
  {
    name: '@langchain/ollama',
    asks: 'float',
    retries: true,
    aborts: false,
    // It tries again after every error, six times by default: the client inside has a status under a name that it does not know.
    tries: 2,
    embed: (url, model, inputs) => new OllamaEmbeddings({ model, baseUrl: url, maxRetries: 1 }).embedDocuments(inputs),
  },
  {
    name: '@chroma-core/ollama',
    asks: 'float',
    retries: false,
    aborts: false,
    busy: /as many images/,
    embed: (url, model, inputs) => new OllamaEmbeddingFunction({ url, model }).generate(inputs),
  },
  {
    name: '@huggingface/inference',
    asks: 'float',
    retries: false,
    aborts: true,
    busy: /as many images|429/,
    embed: (url, _model, inputs, signal) =>
      new InferenceClient(undefined, { endpointUrl: `${url}/embed` }).featureExtraction({ inputs }, { signal }),
  },
  {
    name: '@chroma-core/huggingface-server',
    asks: 'float',
    retries: false,
    aborts: false,
    // It shows the text of the status alone.
    error: /Unprocessable Entity/,
    busy: /Too Many Requests/,
    embed: (url, _model, inputs) => new HuggingfaceServerEmbeddingFunction({ url: `${url}/embed` }).generate(inputs),
  },
  {
    name: 'voyageai',
    asks: 'float',
    retries: true,
    aborts: true,
    async embed(url, model, inputs, abortSignal) {
      const client = new VoyageAIClient({ apiKey, environment: `${url}/v1` });
      const content = (input) =>
        isPicture(input) ? { type: 'image_base64', imageBase64: input } : { type: 'text', text: input };
      const { data } = await client.multimodalEmbed(
        { model, inputs: inputs.map((input) => ({ content: [content(input)] })) },
        { abortSignal },
      );
      return data.map(({ embedding }) => embedding);
    },
  },
];

/** A picture as the body of a request, which is how `@huggingface/inference` sends the inputs of its tasks on pictures. */
export async function embedRawPicture(url, bytes) {
  const data = new Blob([bytes]);
  return await new InferenceClient(undefined, { endpointUrl: `${url}/embed` }).request(
    { data },
    { task: 'image-classification' },
  );
}
