/** The OpenAPI 3.1 document, made from the schemas that requests are checked by. */
import { toJsonSchema } from '@valibot/to-json-schema';
import type { BodySpec, Protocol, Route } from './protocols/route.js';

/** What a server answers with that asks for a key. */
const KEY_SECURITY = [{ key: [] }];

/** Describes the routes of a server. */
export function describeApi(
  protocols: readonly Protocol[],
  version: string,
  needsKey: (route: Route, protocol: Protocol) => boolean,
): object {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const protocol of protocols) {
    const { name } = protocol;
    for (const route of protocol.routes) {
      if (route.isPage) continue;
      const { path } = route;
      const parameters = [...path.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => ({
        name: parameter,
        in: 'path',
        required: true,
        schema: { type: 'string' },
      }));
      const item = paths[path] ?? {};
      paths[path] = item;
      item[route.method.toLowerCase()] = {
        operationId: `${route.method.toLowerCase()}${path.replace(/[^\w]+(\w?)/g, (_, letter: string) => letter.toUpperCase())}`,
        tags: [name],
        summary: route.summary,
        ...(parameters.length === 0 ? {} : { parameters }),
        ...(needsKey(route, protocol) ? { security: KEY_SECURITY } : { security: [] }),
        ...(route.request === undefined ? {} : { requestBody: { required: true, content: contentOf(route.request) } }),
        responses: {
          200: { description: 'The answer.', content: contentOf(route.response) },
          ...(route.isWork
            ? {
                400: { description: 'The request is at fault.' },
                413: { description: 'The body is too large.' },
                429: { description: 'Too much is under way; `Retry-After` says when to come again.' },
                500: { description: 'The server or the model is at fault.' },
                503: { description: 'The server is shutting down.' },
              }
            : { default: { description: 'The request is refused.' } }),
        },
      };
    }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Millrace',
      version,
      description: 'Image embeddings in the protocols of other servers.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    tags: protocols.map(({ name }) => ({ name })),
    paths,
    components: { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } },
  };
}

function contentOf({ contentType = 'application/json', schema, example }: BodySpec): object {
  return {
    [contentType]: {
      ...(schema === undefined ? {} : { schema: schemaOf(schema) }),
      ...(example === undefined ? {} : { example }),
    },
  };
}

function schemaOf(schema: NonNullable<BodySpec['schema']>): object {
  const { $schema: _, ...rest } = toJsonSchema(schema, { target: 'draft-2020-12', errorMode: 'ignore' });
  return rest;
}
