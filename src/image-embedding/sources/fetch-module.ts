/** The model module of the thread that fetches URLs: see `fetch-thread.ts`. */
import type { ModelOf } from '../../worker/index.js';
import type { FetchOperations } from './fetch-thread.js';
import type { UrlLimits } from './limits.js';
import { bytesFromUrl } from './url-source.js';

export default function createFetcher(limits: UrlLimits): ModelOf<FetchOperations> {
  return { fetch: (url, { signal }) => bytesFromUrl(url, limits, { signal }) };
}
