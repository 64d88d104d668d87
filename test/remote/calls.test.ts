import { afterEach, expect, test } from 'vitest';
import { createPool, type Pool } from '../../src/pool/index.js';
import { createRemotePool, type RemotePool, type ServedPool, SimulatedBus, servePool } from '../../src/remote/index.js';
import { BadInputError, operation } from '../../src/worker/index.js';

const operations = {
  echo: operation<unknown, unknown>({ idempotent: true }),
  fail: operation<string, never>(),
  context: operation<void, { traceparent: string | undefined; hasDeadline: boolean }>(),
  count: operation.stream<number, number>({ chunkCapacity: 2 }),
  secret: operation<void, string>(),
};
const open: AsyncDisposable[] = [];

afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each[Symbol.asyncDispose]();
});

function model() {
  return {
    echo: (input: unknown) => input,
    fail: (message: string) => {
      throw Object.assign(new BadInputError(message, { cause: new RangeError('the cause') }), { extra: 1 });
    },
    context: (_: undefined, context: { traceparent?: string | undefined; deadline?: number | undefined }) => ({
      traceparent: context.traceparent,
      hasDeadline: context.deadline !== undefined,
    }),
    async *count(to: number) {
      for (let n = 0; n < to; n += 1) yield n;
    },
    secret: () => 'secret',
  };
}

interface Pair {
  readonly network: SimulatedBus;
  readonly pool: Pool;
  readonly host: ServedPool;
  readonly remote: RemotePool;
  readonly text: ReturnType<typeof connect>;
}

function connect(remote: RemotePool) {
  return remote.connect('text', { operations });
}

async function pair(): Promise<Pair> {
  const network = new SimulatedBus();
  const pool = createPool();
  pool.register('model', { operations, load: () => model() as never, maxWorkers: 4 });
  const served = ['echo', 'fail', 'context', 'count'];
  const host = await servePool(pool, { bus: network.connect(), service: 'text', operations: served, name: 'one' });
  const remote = createRemotePool({ bus: network.connect() });
  open.push(pool, host, remote);
  return { network, pool, host, remote, text: connect(remote) };
}

test('call() answers with what the model on the host returns', async () => {
  const { remote, text, host, pool } = await pair();
  expect(await text.call('echo', { a: [1, undefined, new Float32Array([1.5])] })).toEqual({
    a: [1, undefined, new Float32Array([1.5])],
  });
  expect(await text.call('echo', undefined)).toBeUndefined();
  expect(await text.callDetailed('echo', 1)).toMatchObject({ value: 1, info: { worker: 'one', attempts: 1 } });
  expect(remote.stats()).toMatchObject({ accepted: 3, succeeded: 3, pending: 0, remote: { busy: 0 } });
  expect(host.stats()).toMatchObject({ accepted: 3, settled: 3, sessions: 1 });
  expect(pool.stats()).toMatchObject({ accepted: 3, succeeded: 3 });
  expect(remote.hosts()).toMatchObject([{ service: 'text', name: 'one', state: 'ready', places: 4, inFlight: 0 }]);
});

test('call() rejects with the error of the model: class, message, code, cause and properties', async () => {
  const { text } = await pair();
  const error = await text.call('fail', 'no good').catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(BadInputError);
  expect(error).toMatchObject({ message: 'no good', code: 'ERR_BAD_INPUT', fault: 'caller', extra: 1 });
  expect((error as Error).cause).toBeInstanceOf(RangeError);
});

test('call() carries the deadline and the traceparent to the model', async () => {
  const { text } = await pair();
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  expect(await text.call('context', undefined, { traceparent })).toEqual({ traceparent, hasDeadline: true });
});

test('call() of a stream operation gives its chunks in order, and its return() ends the generator', async () => {
  const { text, pool } = await pair();
  const chunks: number[] = [];
  for await (const chunk of text.call('count', 7)) chunks.push(chunk);
  expect(chunks).toEqual([0, 1, 2, 3, 4, 5, 6]);
  for await (const chunk of text.call('count', 1_000_000)) if (chunk === 3) break;
  while (pool.stats().pending > 0) await new Promise((resolve) => setImmediate(resolve));
  expect(pool.stats()).toMatchObject({ accepted: 2, succeeded: 1, cancelled: 1 });
});

test('call() carries large inputs and outputs in parts', async () => {
  const { text } = await pair();
  for (const bytes of [0, 65_535, 65_536, 1_048_576 - 16_384 - 5, 1_048_576, 5_000_000]) {
    const input = new Uint8Array(bytes).map((_, index) => index % 251);
    expect(Buffer.compare((await text.call('echo', input)) as Uint8Array, input)).toBe(0);
  }
  await expect(text.call('echo', new Uint8Array(33_554_432))).rejects.toMatchObject({
    code: 'ERR_PAYLOAD_TOO_LARGE',
    maxBytes: 33_554_432,
    fault: 'caller',
  });
});

test('call() of an operation that is not served, or not there, is refused', async () => {
  const { text, pool } = await pair();
  await expect(text.call('secret')).rejects.toMatchObject({ code: 'ERR_NOT_SERVED', operation: 'secret' });
  await expect(text.call('paint' as 'secret')).rejects.toMatchObject({ code: 'ERR_UNKNOWN_OPERATION' });
  expect(pool.stats().accepted).toBe(0);
});

test('call() of an input that cannot be sent is the fault of its caller', async () => {
  const { text } = await pair();
  await expect(text.call('echo', () => {})).rejects.toMatchObject({ name: 'DataCloneError', fault: 'caller' });
  expect(await text.call('echo', 'still here')).toBe('still here');
});

test('calls that come together all find a place, more than there are', async () => {
  const { text, host, remote } = await pair();
  const answers = await Promise.all(Array.from({ length: 200 }, (_, n) => text.call('echo', n)));
  expect(answers).toEqual(Array.from({ length: 200 }, (_, n) => n));
  expect(host.stats()).toMatchObject({ accepted: 200, settled: 200, waiting: 0 });
  expect(remote.stats()).toMatchObject({ accepted: 200, succeeded: 200, retried: 0 });
});
