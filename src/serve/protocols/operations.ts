/** What operators and their tools ask: is it there, how is it, what does it do. */
import * as v from 'valibot';
import { isMillraceError } from '../../core/index.js';
import { type Answer, jsonAnswer, textAnswer } from '../http/answer.js';
import type { ServeMetrics } from '../metrics.js';
import type { EmbeddingService } from '../service.js';
import { openaiError } from './openai.js';
import type { Protocol } from './route.js';

const HealthResponse = v.object({
  status: v.picklist(['healthy', 'degraded', 'unhealthy', 'closing']),
  /** Infinity's: the time in seconds. */
  unix: v.number(),
  ready: v.boolean(),
});

const PROMETHEUS = 'text/plain; version=0.0.4; charset=utf-8';

/** The routes that belong to no embedding protocol. */
export function operations(metrics: ServeMetrics, describeApi: () => object): Protocol {
  return {
    name: 'operations',
    routes: [
      {
        path: '/',
        method: 'GET',
        summary: 'What answers here.',
        access: 'open',
        isWork: false,
        response: { schema: v.object({ message: v.string(), version: v.string() }) },
        handle: (request, { settings }) => {
          const isBrowser = request.header('accept')?.includes('text/html') ?? false;
          if (settings.ui && isBrowser) return { status: 302, headers: { location: 'ui/' }, body: '' };
          return jsonAnswer({ message: 'Millrace embeds pictures here', version: settings.version });
        },
      },
      {
        path: '/health',
        method: 'GET',
        summary: 'How the pool is: 200, or 503 when nothing can be answered.',
        access: 'open',
        isWork: false,
        response: { schema: HealthResponse },
        handle: (_, service) => {
          const status = service.isClosing ? 'closing' : service.pool.health().status;
          const isUp = status !== 'closing' && status !== 'unhealthy';
          return jsonAnswer({ status, unix: Date.now() / 1_000, ready: service.isWarm }, isUp ? 200 : 503);
        },
      },
      {
        path: '/metrics',
        method: 'GET',
        summary: 'Metrics of the server, and of the pool where the package prom-client is installed.',
        access: 'key',
        isWork: false,
        response: { contentType: 'text/plain' },
        handle: async (_, service) => textAnswer(`${await poolMetrics(service)}${metrics.render()}`, PROMETHEUS),
      },
      {
        path: '/openapi.json',
        method: 'GET',
        summary: 'This description.',
        access: 'open',
        isWork: false,
        response: { schema: v.looseObject({ openapi: v.string() }) },
        handle: (): Answer => jsonAnswer(describeApi()),
      },
    ],
    refuse: openaiError,
  };
}

async function poolMetrics({ pool }: EmbeddingService): Promise<string> {
  try {
    const text = await pool.metrics();
    return text.endsWith('\n') || text === '' ? text : `${text}\n`;
  } catch (error) {
    if (isMillraceError(error, 'ERR_MISSING_PACKAGE')) return '# the pool has metrics with the package prom-client\n';
    throw error;
  }
}
