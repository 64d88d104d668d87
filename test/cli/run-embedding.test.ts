import { describe, expect, test } from 'vitest';
import type { Embedder } from '../../src/cli/command/context.js';
import { type EmbeddingRun, runEmbedding } from '../../src/cli/command/run-embedding.js';
import { RunError, UsageError } from '../../src/cli/errors.js';
import type { EmbedInput } from '../../src/cli/input/inputs.js';
import type { EmbedRecord, RecordWriter } from '../../src/cli/output/record.js';
import { Progress } from '../../src/cli/terminal/progress.js';
import { SimulatedClock } from '../../src/core/index.js';
import { ImageReadError } from '../../src/image-embedding/index.js';
import { WorkerCrashedError, WorkerLoadError } from '../../src/worker/index.js';

describe('runEmbedding()', () => {
  const coded = (code: string): Error => Object.assign(new Error(`it is\n${code}`), { code });

  function run(answers: readonly (number | Error)[], more: Partial<EmbeddingRun> = {}) {
    const records: EmbedRecord[] = [];
    const writer: RecordWriter = {
      write: async (record) => void records.push(record),
      close: async () => {},
    };
    let notes = '';
    const progress = new Progress({
      stream: { write: (text) => (notes += text) },
      unit: 'images',
      clock: new SimulatedClock(),
    });
    const embedder = {
      window: 4,
      embed: async ({ name }: EmbedInput) => {
        const answer = answers[Number(name)];
        if (answer instanceof Error) throw answer;
        return new Float32Array(answer ?? 0);
      },
    } as unknown as Embedder;
    const items = answers.map((_, index): EmbedInput => ({ name: `${index}`, kind: 'path' }));
    const result = runEmbedding({ items, embedder, writer, progress, ...more });
    return { result, records, notes: () => notes };
  }

  test('writes an error record for what fails, and goes on', async () => {
    const { result, records, notes } = run([2, coded('ERR_IMAGE_CORRUPT'), new Error('odd'), 2]);
    expect(await result).toEqual({ done: 4, failed: 2 });
    expect(records).toEqual([
      { path: '0', embedding: new Float32Array(2) },
      { path: '1', error: { code: 'ERR_IMAGE_CORRUPT', message: 'it is ERR_IMAGE_CORRUPT' } },
      { path: '2', error: { code: 'ERR_UNKNOWN', message: 'odd' } },
      { path: '3', embedding: new Float32Array(2) },
    ]);
    expect(notes()).toContain('1: ERR_IMAGE_CORRUPT: it is ERR_IMAGE_CORRUPT\n');
  });

  test('notes the first ten failures only', async () => {
    const { result, notes } = run(Array.from({ length: 30 }, () => coded('ERR_IMAGE_CORRUPT')));
    await result;
    expect(notes().match(/: ERR_IMAGE_CORRUPT: /g)).toHaveLength(10);
  });

  test('is a usage error when the model is at fault from the start, and keeps nothing back later', async () => {
    await expect(run([coded('ERR_MODEL_NOT_FOUND'), 2]).result).rejects.toBeInstanceOf(UsageError);
    const later = run([2, coded('ERR_BREAKER_OPEN'), 2]);
    await expect(later.result).rejects.toBeInstanceOf(RunError);
    expect(later.records).toHaveLength(1);
  });

  test('starts no more once its signal aborts, and writes what runs', async () => {
    const stop = new AbortController();
    const started: string[] = [];
    const embed = async ({ name }: EmbedInput) => {
      started.push(name);
      await new Promise((resolve) => setImmediate(resolve));
      return new Float32Array(2);
    };
    const { result, records } = run(new Array(100).fill(2), {
      embedder: { window: 4, embed } as unknown as Embedder,
      signal: stop.signal,
      onRecord: () => records.length === 10 && stop.abort(),
    });
    expect((await result).failed).toBe(0);
    expect(records.map(({ path }) => path)).toEqual(started);
    expect(started.length).toBeLessThan(20);
  });

  test('is interrupted, not failed, when Ctrl-C reaches a worker that is only just starting', async () => {
    const interrupt = new AbortController();
    const killed = new WorkerLoadError('it must load', {
      cause: new WorkerCrashedError('it must live', { signal: 'SIGINT' }),
    });
    const answers = [killed, killed, killed];
    await expect(run(answers, { signal: interrupt.signal }).result).rejects.toBeInstanceOf(UsageError);
    const { result, records } = run(answers, { signal: interrupt.signal });
    interrupt.abort();
    expect(await result).toEqual({ done: 0, failed: 0 });
    expect(records).toEqual([]);
  });

  test('goes on when the model failed on one image only', async () => {
    expect(await run([coded('ERR_MODEL_INFERENCE'), 2]).result).toEqual({ done: 2, failed: 1 });
  });

  test('refuses to mix vectors of two dimensions', async () => {
    await expect(run([3], { dimension: 2 }).result).rejects.toThrow(
      /holds vectors of 2 dimensions, this model gives 3/,
    );
  });

  test('is a usage error before the first line when no worker fits into the memory, and ends a run at once', async () => {
    const none = run([coded('ERR_MEMORY_EXHAUSTED'), coded('ERR_MEMORY_EXHAUSTED'), 2]);
    await expect(none.result).rejects.toBeInstanceOf(UsageError);
    expect(none.records).toEqual([]);
    await expect(run([2, coded('ERR_MEMORY_EXHAUSTED')]).result).rejects.toBeInstanceOf(RunError);
  });

  test('writes what can not be read first, and not before the model is known to be good', async () => {
    const error = new ImageReadError('Cannot read folder "a": permission denied (EACCES)');
    const unreadable = [{ name: 'a', error }];
    const bad = run([2], { unreadable, identify: () => Promise.reject(coded('ERR_MODEL_NOT_FOUND')) });
    await expect(bad.result).rejects.toBeInstanceOf(UsageError);
    expect(bad.records).toEqual([]);
    for (const answers of [[2], []]) {
      const { result, records } = run(answers, { unreadable });
      expect(await result).toEqual({ done: answers.length + 1, failed: 1 });
      expect(records[0]).toEqual({ path: 'a', error: { code: 'ERR_IMAGE_READ', message: error.message } });
    }
  });

  test('asks once which model it is, and writes it beside every vector', async () => {
    let asked = 0;
    const model = { name: 'm', digest: 'd', preprocess: 'fast', normalized: true, dimensions: 2 } as const;
    const identify = async () => {
      asked++;
      return model;
    };
    const { result, records } = run([2, coded('ERR_IMAGE_CORRUPT'), 2], { identify });
    await result;
    expect(records).toMatchObject([{ model }, { error: {} }, { model }]);
    expect(asked).toBe(1);
    const empty = run([], { identify });
    await empty.result;
    expect(asked).toBe(1);
  });
});
