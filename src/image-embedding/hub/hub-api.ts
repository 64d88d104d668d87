/** The two questions that a download has for the hub's API: which commit a branch is, and which files a commit has. */
import type { RepositoryFile } from './hub-cache.js';
import type { HubClient } from './hub-client.js';

/** The hub refuses a question, or its answer can't be read. */
export class HubAnswerError extends Error {
  /** The HTTP status, where it says what is wrong. */
  readonly statusCode: number | undefined;

  constructor(message: string, options: { readonly statusCode?: number; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.statusCode = options.statusCode;
  }
}

/** A page of a list: the hub names the next one in the header `Link`. */
const NEXT_PAGE = /<([^>]+)>\s*;[^,]*\brel="?next"?/;
/** A repository of models has some hundred files; a hub that goes on without end is none. */
const MAX_PAGES = 1_000;

/** The commit that a branch or a tag of a model stands for, as the hub says it. */
export async function askCommitOf(name: string, revision: string, client: HubClient): Promise<unknown> {
  const { body } = await ask(client, `/api/models/${name}/revision/${encodeURIComponent(revision)}`);
  return (body as { sha?: unknown } | null)?.sha;
}

/** The files of a commit of a model, as the hub lists them. Large ones are told by the SHA-256 of their content, others by that of git's blob. */
export async function listFilesOf(name: string, commit: string, client: HubClient): Promise<RepositoryFile[]> {
  const files: RepositoryFile[] = [];
  let page: string | undefined = `/api/models/${name}/tree/${commit}?recursive=true`;
  for (let count = 0; page !== undefined; count += 1) {
    if (count === MAX_PAGES) throw new HubAnswerError(`its list of files has more than ${MAX_PAGES} pages`);
    const { body, next } = await ask(client, page);
    if (!Array.isArray(body)) throw new HubAnswerError('its list of files is none');
    for (const entry of body as readonly (Partial<TreeEntry> | null)[]) {
      if (entry?.type !== 'file') continue;
      const digest = entry.lfs?.oid ?? entry.oid;
      files.push({ path: String(entry.path), size: Number(entry.size), digest: String(digest ?? '') });
    }
    page = next;
  }
  return files;
}

/** An entry of a list of files. */
interface TreeEntry {
  readonly type: string;
  readonly path: string;
  readonly size: number;
  readonly oid: string;
  readonly lfs: { readonly oid: string };
}

async function ask(client: HubClient, page: string): Promise<{ readonly body: unknown; readonly next?: string }> {
  // An endpoint may have a path of its own.
  const url = page.startsWith('/') ? `${client.endpoint.replace(/\/+$/, '')}${page}` : page;
  const response = await client.ask(url, { headers: { accept: 'application/json' } });
  if (!response.ok) {
    await response.body?.cancel().catch(() => undefined);
    throw new HubAnswerError(`it answered ${response.status}`, { statusCode: response.status });
  }
  let body: unknown;
  try {
    body = await response.json();
  } catch (cause) {
    throw new HubAnswerError('its answer is no JSON', { cause });
  }
  const [, next] = NEXT_PAGE.exec(response.headers.get('link') ?? '') ?? [];
  return next === undefined ? { body } : { body, next: new URL(next, url).href };
}
