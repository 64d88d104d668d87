import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import { openai } from '../../src/serve/protocols/openai.js';
import { ollama } from '../../src/serve/protocols/ollama.js';
import { cohere } from '../../src/serve/protocols/cohere.js';
import { immich } from '../../src/serve/protocols/immich.js';
import type { Protocol } from '../../src/serve/protocols/route.js';
import { tei } from '../../src/serve/protocols/tei.js';
import { voyage } from '../../src/serve/protocols/voyage.js';
import { weaviate } from '../../src/serve/protocols/weaviate.js';
import { serving } from './support/serving.js';

const at = serving();
const PROTOCOLS: readonly Protocol[] = [openai, tei, cohere, voyage, ollama, immich, weaviate];

interface Operation {
  readonly operationId: string;
  readonly parameters?: { readonly name: string; readonly in: string }[];
  readonly requestBody?: {
    readonly content: Record<string, { readonly schema?: unknown; readonly example?: unknown }>;
  };
  readonly responses: Record<string, { readonly description: string }>;
}

interface Description {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string };
  readonly paths: Record<string, Record<string, Operation>>;
}

const describeServer = async (): Promise<Description> => (await at.get('/openapi.json')).json;

/** The keywords that a schema of JSON Schema 2020-12 may have, as far as they are made here. */
const KEYWORDS = new Set([
  ...['type', 'properties', 'required', 'items', 'anyOf', 'oneOf', 'allOf', 'enum', 'const', 'minimum', 'maximum'],
  ...['additionalProperties', 'minItems', 'maxItems', 'minLength', 'maxLength', 'description', 'default', 'title'],
]);

function checkSchema(schema: unknown, place: string): void {
  if (typeof schema === 'boolean') return;
  expect(typeof schema === 'object' && schema !== null, place).toBe(true);
  const {
    properties = {},
    items,
    anyOf = [],
    required = [],
    additionalProperties,
    ...rest
  } = schema as {
    properties?: Record<string, unknown>;
    items?: unknown;
    anyOf?: unknown[];
    required?: string[];
    additionalProperties?: unknown;
  };
  for (const keyword of Object.keys(rest)) expect(KEYWORDS, `${place}.${keyword}`).toContain(keyword);
  for (const name of required) expect(Object.keys(properties), place).toContain(name);
  for (const [name, each] of Object.entries(properties)) checkSchema(each, `${place}.${name}`);
  for (const [index, each] of anyOf.entries()) checkSchema(each, `${place}|${index}`);
  if (items !== undefined) checkSchema(items, `${place}[]`);
  if (additionalProperties !== undefined) checkSchema(additionalProperties, `${place}{}`);
}

describe('/openapi.json', () => {
  test('is OpenAPI 3.1: paths, parameters, unique names, answers, schemas', async () => {
    const { openapi, info, paths } = await describeServer();
    expect([openapi, info.title]).toEqual(['3.1.0', 'Millrace']);
    const ids = new Set<string>();
    for (const [path, methods] of Object.entries(paths)) {
      expect(path).toMatch(/^\//);
      for (const [method, operation] of Object.entries(methods)) {
        const place = `${method} ${path}`;
        expect(ids, place).not.toContain(operation.operationId);
        ids.add(operation.operationId);
        const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
        expect(
          (operation.parameters ?? []).map(({ name }) => name),
          place,
        ).toEqual(named);
        expect(operation.responses['200']?.description, place).toBeTruthy();
        for (const { schema } of Object.values(operation.requestBody?.content ?? {})) {
          if (schema !== undefined) checkSchema(schema, place);
        }
      }
    }
    expect(ids.size).toBeGreaterThan(20);
  });

  test('names every route that is served, and no other', async () => {
    const { paths } = await describeServer();
    const described = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    for (const { routes } of PROTOCOLS)
      for (const { method, path } of routes) expect(described).toContain(`${method} ${path}`);
    for (const each of described) {
      const [method, path = ''] = each.split(' ');
      const answer = await fetch(at.url(path.replace('{id}', 'default')), { method: method as string });
      expect([404, 405], each).not.toContain(answer.status);
    }
  });

  test('has examples that are answered, with what their schemas say', async () => {
    const { paths } = await describeServer();
    let sent = 0;
    for (const { routes } of PROTOCOLS) {
      for (const { method, path, request, response } of routes) {
        const example = paths[path]?.[method.toLowerCase()]?.requestBody?.content['application/json']?.example;
        if (example === undefined) {
          // Only a form has none.
          if (request !== undefined) expect(request.contentType).toBe('multipart/form-data');
          continue;
        }
        const { status, json } = await at.post(path, example);
        expect(status, path).toBe(200);
        if (response.schema !== undefined) expect(v.is(response.schema, json), path).toBe(true);
        sent++;
      }
    }
    expect(sent).toBeGreaterThan(8);
  });

  test('describes the answers of the routes that take no body', async () => {
    for (const { routes } of PROTOCOLS) {
      for (const { method, path, response } of routes) {
        if (method !== 'GET' || response.schema === undefined) continue;
        const { status, json } = await at.get(path.replace('{id}', 'default'));
        expect([status, v.is(response.schema, json)], path).toEqual([200, true]);
      }
    }
  });
});
