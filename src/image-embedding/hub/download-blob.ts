/** Downloads one file: streamed to disk, resumed where an earlier try stopped, and kept only when its digest is right. */
import { mkdir, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { addAbortListener, removeAbortListener } from '../../core/index.js';
import { ModelDigestError, ModelDownloadError } from '../model/model-errors.js';
import { hasDigest, sizeOf } from './hub-cache.js';

/** What is downloaded, and how. */
export interface BlobDownload {
  readonly url: string;
  /** For messages. */
  readonly name: string;
  readonly size: number;
  readonly digest: string;
  /** Where it goes. */
  readonly target: string;
  readonly accessToken: string | undefined;
  readonly retries: number;
  readonly stallTimeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly onReceived: (receivedBytes: number) => void;
}

const FIRST_BACK_OFF_MS = 200;

/** A failure that another try may not meet. */
class PassingError extends Error {}

/**
 * Downloads a file.
 *
 * @throws ModelDownloadError When the server refuses it, or the network fails more often than `retries`; ModelDigestError when what came is
 *   not what was to come.
 */
export async function downloadBlob(download: BlobDownload): Promise<void> {
  const { target, size, digest, name, retries, signal } = download;
  const incomplete = `${target}.incomplete`;
  await mkdir(path.dirname(target), { recursive: true });
  for (let attempt = 0; ; attempt += 1) {
    signal?.throwIfAborted();
    const resumedFrom = await usablePart(incomplete, size);
    try {
      if (resumedFrom < size || size === 0) await receive(download, incomplete, resumedFrom);
      if (await hasDigest(incomplete, digest)) {
        await rename(incomplete, target);
        return;
      }
      await rm(incomplete, { force: true });
      // What an earlier try left may have been of another kind; what came in one piece is wrong for good.
      if (resumedFrom === 0) {
        throw new ModelDigestError(`Cannot download ${name}: its digest must be ${digest}, received another`);
      }
      throw new PassingError('the resumed file was not what it should be');
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (!(error instanceof PassingError)) throw error;
      if (attempt >= retries) {
        throw new ModelDownloadError(`Cannot download ${name}: ${error.message}`, { cause: error.cause ?? error });
      }
      await delay(FIRST_BACK_OFF_MS * 2 ** attempt, undefined, signal === undefined ? {} : { signal });
    }
  }
}

/** How much of an earlier try can be gone on from. */
async function usablePart(incomplete: string, size: number): Promise<number> {
  const there = (await sizeOf(incomplete)) ?? 0;
  if (there <= size) return there;
  await rm(incomplete, { force: true });
  return 0;
}

async function receive(download: BlobDownload, incomplete: string, from: number): Promise<void> {
  const { url, name, size, accessToken, stallTimeoutMs, signal, onReceived } = download;
  const controller = new AbortController();
  const listener = { onAbort: (reason: unknown) => controller.abort(reason) };
  if (signal !== undefined) addAbortListener(signal, listener);
  const onStall = () => controller.abort(new PassingError(`nothing came for ${stallTimeoutMs} ms`));
  let stall = setTimeout(onStall, stallTimeoutMs);
  try {
    const response = await fetch(url, {
      signal: controller.signal,
      // fetch drops the authorization when it is redirected to another origin.
      headers: {
        ...(accessToken === undefined ? {} : { authorization: `Bearer ${accessToken}` }),
        ...(from === 0 ? {} : { range: `bytes=${from}-` }),
        'accept-encoding': 'identity',
      },
    });
    const start = startOf(response, name, from);
    let received = start;
    const file = await open(incomplete, start === 0 ? 'w' : 'a');
    try {
      for await (const chunk of response.body ?? []) {
        clearTimeout(stall);
        stall = setTimeout(onStall, stallTimeoutMs);
        received += chunk.length;
        if (received > size) {
          throw new ModelDigestError(`Cannot download ${name}: it must be ${size} bytes long, received more`);
        }
        // Each piece is on its way to the disk before the next is asked for: what came before a cut stays.
        await file.writeFile(chunk);
        onReceived(received);
      }
    } finally {
      await file.close();
    }
    if (received < size) throw new PassingError(`the connection ended after ${received} of ${size} bytes`);
  } catch (error) {
    if (error instanceof ModelDownloadError || error instanceof ModelDigestError || error instanceof PassingError)
      throw error;
    const { reason } = controller.signal;
    if (reason instanceof PassingError) throw reason;
    throw new PassingError('the network failed', { cause: error });
  } finally {
    clearTimeout(stall);
    if (signal !== undefined) removeAbortListener(signal, listener);
  }
}

/** Where the body starts in the file: a server that knows no ranges sends it from the beginning. */
function startOf(response: Response, name: string, from: number): number {
  if (response.status === 200) return 0;
  if (response.status === 206) {
    const first = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1];
    if (Number(first) === from) return from;
    throw new PassingError(`the server sent another part than the one that was asked for`);
  }
  if (response.status >= 500 || response.status === 429 || response.status === 408) {
    throw new PassingError(`the server answered ${response.status}`);
  }
  throw new ModelDownloadError(`Cannot download ${name}: the server answered ${response.status}`);
}
