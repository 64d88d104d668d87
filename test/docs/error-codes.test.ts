import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { BatchError } from '../../src/image-embedding/facade/batch-error.js';
import { imageErrorClasses } from '../../src/image-embedding/image-errors.js';
import { modelErrorClasses } from '../../src/image-embedding/model/model-errors.js';
import { BreakerOpenError, MemoryExhaustedError, PoolClosedError, PoolOverloadedError } from '../../src/pool/index.js';
import {
  DeadlineExceededError,
  ModelContractError,
  WorkerClosedError,
  WorkerCrashedError,
  WorkerLoadError,
} from '../../src/worker/index.js';

it('the guide has each code that an image pool answers with, and whose fault it is', async () => {
  const guide = await readFile(fileURLToPath(new URL('../../docs/image-embedding.md', import.meta.url)), 'utf8');
  const documented = new Map<string, string>();
  for (const [, codes = '', fault = ''] of guide.matchAll(/^\| *((?:`ERR_\w+`,? *)+) *\| *(\w+) *\|/gm)) {
    for (const [code] of codes.matchAll(/ERR_\w+/g)) documented.set(code, fault);
  }
  const errors = [
    ...[...imageErrorClasses, ...modelErrorClasses].map((each) => new each('')),
    new BatchError([], 0),
    ...[WorkerLoadError, ModelContractError, WorkerCrashedError, WorkerClosedError, PoolClosedError].map(
      (each) => new each(''),
    ),
    new DeadlineExceededError('', 1),
    new PoolOverloadedError('', 1),
    new BreakerOpenError('', 1),
    new MemoryExhaustedError('', 1, 1, []),
  ];
  const actual = new Map(errors.map(({ code, fault }) => [code, fault as string]));
  expect(Object.fromEntries([...documented].sort())).toEqual(Object.fromEntries([...actual].sort()));
});
