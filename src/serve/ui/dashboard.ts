/** The routes of the dashboard: the page, its stream of states, and what may be done from it. */
import * as v from 'valibot';
import { jsonAnswer } from '../http/answer.js';
import type { ApiKeys } from '../http/keys.js';
import { Refusal } from '../http/refusal.js';
import type { ServeRequest } from '../http/serve-request.js';
import { openaiError } from '../protocols/openai.js';
import type { Protocol } from '../protocols/route.js';
import type { EmbeddingService } from '../service.js';
import { validated } from '../validated.js';
import { pageAnswer } from './page.js';
import { DashboardRecorder } from './recorder.js';
import { Sessions } from './sessions.js';

const ActionRequest = v.strictObject({
  action: v.picklist(['warm', 'evict', 'restart']),
  model: v.string(),
});

/** The dashboard of a server: a protocol of its own, and what it has started. */
export interface Dashboard {
  readonly protocol: Protocol;
  /** Ends the streams of its viewers. */
  close(): Promise<void>;
}

/** Makes the dashboard. Where the server has keys, its stream of states asks for one as well. */
export function createDashboard(service: EmbeddingService, keys: ApiKeys): Dashboard {
  const recorder = new DashboardRecorder(service);
  const sessions = new Sessions();
  const page = { isPage: true, isWork: false, response: {} } as const;
  const protocol: Protocol = {
    name: 'ui',
    refuse: openaiError,
    routes: [
      {
        ...page,
        // Also at `/ui/`: a slash at the end makes no difference to the application.
        path: '/ui',
        method: 'GET',
        summary: 'The dashboard.',
        access: 'open',
        handle: () => pageAnswer('ui', keys.isRequired),
      },
      {
        ...page,
        path: '/ui/events',
        method: 'GET',
        summary: 'What the dashboard shows, as server-sent events.',
        // The handler looks for the cookie of a session beside the key.
        access: 'open',
        handle: (request) => {
          const isKnown = sessions.has(request.header('cookie')) || keys.allows((name) => request.header(name));
          if (!isKnown) throw new Refusal('unauthorized', 'A valid API key is needed', { code: 'invalid_api_key' });
          if (service.isClosing) throw new Refusal('closing', 'The server is shutting down');
          return {
            status: 200,
            headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store' },
            body: recorder.watch(),
          };
        },
      },
      {
        ...page,
        path: '/ui/session',
        method: 'POST',
        summary: 'Trades a key for a cookie that opens the stream of the dashboard.',
        access: 'action',
        handle: () => ({ status: 204, headers: { 'set-cookie': sessions.open() }, body: '' }),
      },
      {
        ...page,
        path: '/ui/actions',
        method: 'POST',
        summary: 'Starts or ends workers of a model.',
        access: 'action',
        isWork: true,
        handle: async (request) => {
          const { action, model } = await readAction(request);
          const { source } = service.catalog.find(model);
          const { pool } = service;
          const evicted = action === 'warm' ? 0 : await pool.evict(source);
          if (action !== 'evict') await pool.warm(source === undefined ? {} : { model: source });
          return jsonAnswer({ evicted });
        },
      },
    ],
  };
  return { protocol, close: () => recorder.close() };
}

/** Read past the admission of images: an overloaded server is one to act on. */
async function readAction(request: ServeRequest): Promise<v.InferOutput<typeof ActionRequest>> {
  const text = Buffer.from(await request.readBody()).toString('utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Refusal('invalid', 'The body must be JSON', { code: 'invalid_json', cause });
  }
  return validated(ActionRequest, value);
}
