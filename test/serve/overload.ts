/** Three times the load that a server can answer, through a real socket: short in the gate, a minute in `overload.long.ts`. */
import { Agent, request } from 'node:http';
import { expect } from 'vitest';
import type { Serving } from './support/serving.js';

/** How clients were answered. */
export interface Load {
  readonly statuses: Record<number, number>;
  /** Answers of 200 a second. */
  readonly perSecond: number;
}

/** Posts the picture in a loop. */
export async function load(at: Serving, clients: number, ms: number, body: Uint8Array): Promise<Load> {
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const statuses: Record<number, number> = {};
  const end = performance.now() + ms;
  const loop = async (): Promise<void> => {
    while (performance.now() < end) {
      const { status, retryAfterMs } = await send(at.url('/embed'), agent, body);
      statuses[status] = (statuses[status] ?? 0) + 1;
      // A client that obeys, so that the machine is not busy with refusals alone.
      if (status === 429)
        await new Promise((resolve) => setTimeout(resolve, Math.min(retryAfterMs, end - performance.now())));
    }
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: clients }, loop));
  agent.destroy();
  return { statuses, perSecond: ((statuses[200] ?? 0) * 1_000) / (performance.now() - started) };
}

function send(url: string, agent: Agent, body: Uint8Array): Promise<{ status: number; retryAfterMs: number }> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: 'POST', agent, headers: { 'content-length': body.byteLength } }, (answer) => {
      const { 'retry-after': seconds, 'retry-after-ms': ms } = answer.headers;
      if (answer.statusCode === 429 && (Number(seconds) < 1 || Number.isNaN(Number(ms)))) {
        reject(new Error(`429 without Retry-After: ${seconds}, ${String(ms)}`));
      }
      answer.resume().on('end', () => resolve({ status: answer.statusCode ?? 0, retryAfterMs: Number(ms ?? 0) }));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

/** What the server has counted. */
export async function ledger(at: Serving): Promise<Record<string, number>> {
  const { text } = await at.get('/metrics');
  const value = (name: string): number => Number(new RegExp(`^millrace_serve_${name} (\\d+)$`, 'm').exec(text)?.[1]);
  const outcome = (name: string): number => value(`images_settled_total\\{outcome="${name}"\\}`);
  return {
    accepted: value('images_accepted_total'),
    succeeded: outcome('succeeded'),
    failed: outcome('failed'),
    expired: outcome('expired'),
    cancelled: outcome('cancelled'),
    underWay: value('images_under_way'),
    bodyBytes: value('body_bytes'),
  };
}

/** Nothing is under way, and everything that was let in has ended once. */
export async function expectExactLedger(at: Serving): Promise<void> {
  const counts = await ledger(at);
  const { accepted = 0, succeeded = 0, failed = 0, expired = 0, cancelled = 0 } = counts;
  expect(counts).toMatchObject({ underWay: 0, bodyBytes: 0 });
  expect(succeeded + failed + expired + cancelled).toBe(accepted);
}
