/** Downloads one file: streamed to disk, resumed where an earlier try stopped, and kept only when its digest is right. */
import { open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { addAbortListener, removeAbortListener } from '../../core/index.js';
import { makeFolder } from '../file-system.js';
import { ModelDigestError, ModelDownloadError } from '../model/model-errors.js';
import { hasDigest, sizeOf } from './hub-cache.js';
import { type HubClient, PassingError, reasonOf } from './hub-client.js';

/** A file to download, and its source. */
export interface BlobDownload {
  readonly url: string;
  /** For messages. */
  readonly name: string;
  /** Where a person can ask for the model. */
  readonly page: string;
  readonly size: number;
  readonly digest: string;
  /** Where it goes. */
  readonly target: string;
  readonly onReceived: (receivedBytes: number) => void;
}

/** What an interrupted download leaves, to be gone on from. */
export function partOf(target: string): string {
  return `${target}.incomplete`;
}

/**
 * Downloads a file.
 *
 * @throws ModelDownloadError When the server refuses it, or the network fails more often than it is tried again; ModelDigestError when what came is
 *   not what was to come; an error of the file system as it is.
 */
export async function downloadBlob(download: BlobDownload, client: HubClient): Promise<void> {
  const { target, size, digest, name } = download;
  const incomplete = partOf(target);
  await makeFolder(path.dirname(target));
  try {
    await client.retry(async () => {
      const resumedFrom = await usablePart(incomplete, size);
      if (resumedFrom < size || size === 0) await receive(download, client, incomplete, resumedFrom);
      if (await hasDigest(incomplete, digest)) return rename(incomplete, target);
      await rm(incomplete, { force: true });
      // What an earlier try left may have been of another kind; what came in one piece is wrong for good.
      if (resumedFrom === 0) {
        throw new ModelDigestError(`Cannot download ${name}: its digest must be ${digest}, received another`);
      }
      throw new PassingError('the resumed file was not what it should be');
    });
  } catch (error) {
    if (!(error instanceof PassingError)) throw error;
    throw new ModelDownloadError(`Cannot download ${name}: ${error.message}`, { cause: error.cause ?? error });
  }
}

/** How much of an earlier try can be gone on from. */
async function usablePart(incomplete: string, size: number): Promise<number> {
  const there = (await sizeOf(incomplete)) ?? 0;
  if (there <= size) return there;
  await rm(incomplete, { force: true });
  return 0;
}

async function receive(download: BlobDownload, client: HubClient, incomplete: string, from: number): Promise<void> {
  const { name, size, onReceived } = download;
  const { stallTimeoutMs, signal } = client;
  const controller = new AbortController();
  const listener = { onAbort: (reason: unknown) => controller.abort(reason) };
  if (signal !== undefined) addAbortListener(signal, listener);
  const onStall = () => controller.abort(new PassingError(`nothing came for ${stallTimeoutMs} ms`));
  const stall = { timer: setTimeout(onStall, stallTimeoutMs) };
  try {
    const headers = { ...(from === 0 ? {} : { range: `bytes=${from}-` }), 'accept-encoding': 'identity' };
    const response = await client.send(download.url, { headers }, controller.signal);
    const start = startOf(response, download, from);
    let received = start;
    const file = await open(incomplete, start === 0 ? 'w' : 'a');
    try {
      for await (const chunk of chunksOf(response, controller.signal)) {
        clearTimeout(stall.timer);
        stall.timer = setTimeout(onStall, stallTimeoutMs);
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
  } finally {
    clearTimeout(stall.timer);
    if (signal !== undefined) removeAbortListener(signal, listener);
  }
}

/** The body, whose failures are the network's: those of the file that it goes to are not. */
async function* chunksOf(response: Response, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of response.body ?? []) yield chunk as Uint8Array;
  } catch (cause) {
    if (signal.aborted) throw signal.reason;
    throw new PassingError(`the connection broke (${reasonOf(cause)})`, { cause });
  }
}

/** Where the body starts in the file: a server that knows no ranges sends it from the beginning. */
function startOf(response: Response, { name, page }: BlobDownload, from: number): number {
  const { status } = response;
  if (status === 200) return 0;
  if (status === 206) {
    const first = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1];
    if (Number(first) === from) return from;
    throw new PassingError(`the server sent another part than the one that was asked for`);
  }
  const why =
    status === 401 || status === 403
      ? `the hub answered ${status}: it is private or gated, ask for access on ${page} and give a token of yours (hf auth login, or HF_TOKEN)`
      : `the hub answered ${status}`;
  throw new ModelDownloadError(`Cannot download ${name}: ${why}`);
}
