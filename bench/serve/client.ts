/** A load generator in a process of its own: keeps requests under way over kept connections, and answers how many were answered how. */
import { readFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';

/** What to send. */
export interface Load {
  readonly url: string;
  readonly paths: readonly string[];
  /** `raw`: the bytes of an image; `json`: a data URL in JSON; `large`: the same, padded to so many bytes of base64. */
  readonly body: 'raw' | 'json' | 'large';
  readonly lanes: number;
  readonly ms: number;
  /** Requests a second, at even distances, instead of lanes. */
  readonly perSecond?: number;
  /** Whether `/health` is asked as well, every 10 ms. */
  readonly asksHealth?: boolean;
}

/** What came of it. */
export interface LoadReport {
  readonly statuses: Readonly<Record<string, number>>;
  /** Answers with 200 a second. */
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly healthP99Ms: number | undefined;
  readonly healthMaxMs: number | undefined;
}

const LARGE_BYTES = 21_000_000;
const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });

function ask(url: string, method: string, body?: Buffer, type?: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { ...(type === undefined ? {} : { 'content-type': type }), 'content-length': body?.length ?? 0 };
    const asked = request(url, { method, agent, headers }, (answer) => {
      answer.resume();
      answer.on('end', () => resolve(answer.statusCode as number));
      answer.on('error', reject);
    });
    asked.on('error', reject);
    asked.end(body);
  });
}

/** A JPEG with bytes after its end, which decoders pass over: a valid picture of any size. */
function padded(jpeg: Buffer, bytes: number): Buffer {
  return Buffer.concat([jpeg, Buffer.alloc(Math.max(0, Math.floor((bytes * 3) / 4) - jpeg.length))]);
}

async function run({ url, paths, body, lanes, ms, perSecond, asksHealth }: Load): Promise<LoadReport> {
  const files = await Promise.all(paths.map((path) => readFile(path)));
  const jsonOf = (jpeg: Buffer): Buffer =>
    Buffer.from(JSON.stringify({ model: 'default', input: [`data:image/jpeg;base64,${jpeg.toString('base64')}`] }));
  const bodies =
    body === 'raw'
      ? files
      : body === 'json'
        ? files.map(jsonOf)
        : files.slice(0, 1).map((jpeg) => jsonOf(padded(jpeg, LARGE_BYTES)));
  const [path, type] = body === 'raw' ? ['/embed', undefined] : ['/v1/embeddings', 'application/json'];
  const statuses: Record<string, number> = {};
  const times: number[] = [];
  const health: number[] = [];
  const started = performance.now();
  const end = started + ms;
  const once = async (index: number): Promise<void> => {
    const at = performance.now();
    const status = await ask(`${url}${path}`, 'POST', bodies[index % bodies.length], type).catch(() => 0);
    statuses[status] = (statuses[status] ?? 0) + 1;
    if (status === 200) times.push(performance.now() - at);
  };
  const lane = async (first: number): Promise<void> => {
    for (let index = first; performance.now() < end; index += lanes) await once(index);
  };
  const asking = (async () => {
    while (asksHealth && performance.now() < end) {
      const at = performance.now();
      await ask(`${url}/health`, 'GET');
      health.push(performance.now() - at);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  })();
  if (perSecond === undefined) await Promise.all(Array.from({ length: lanes }, (_, index) => lane(index)));
  else {
    const under = new Set<Promise<void>>();
    for (let index = 0; performance.now() < end; index += 1) {
      const wait = started + (index * 1_000) / perSecond - performance.now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      const one = once(index).finally(() => under.delete(one));
      under.add(one);
    }
    await Promise.all(under);
  }
  await asking;
  const seconds = (performance.now() - started) / 1_000;
  const quantile = (of: number[], q: number): number => of.sort((a, b) => a - b)[Math.floor(q * (of.length - 1))] ?? 0;
  return {
    statuses,
    perSecond: (statuses[200] ?? 0) / seconds,
    p50Ms: quantile(times, 0.5),
    p99Ms: quantile(times, 0.99),
    healthP99Ms: health.length === 0 ? undefined : quantile(health, 0.99),
    healthMaxMs: health.length === 0 ? undefined : Math.max(...health),
  };
}

process.on('message', async (load: Load) => process.send?.(await run(load)));
process.send?.({ ready: true });
