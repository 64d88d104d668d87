import { describe, expect, test } from 'vitest';
import { withFlag } from '../../src/cli/command/options.js';
import { describeFailure, errorCode, modelError, UsageError } from '../../src/cli/errors.js';
import { ModelDownloadError } from '../../src/image-embedding/model/model-errors.js';
import { WorkerLoadError } from '../../src/worker/index.js';

const coded = (message: string, cause?: unknown) => new ModelDownloadError(message, { cause });
const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });

describe('describeFailure()', () => {
  test.each<[what: string, error: unknown, said: string]>([
    ['no cause', coded('Cannot download a/b'), 'Cannot download a/b'],
    ['a cause', coded('Cannot download a/b', full), 'Cannot download a/b: ENOSPC: no space left on device, write'],
    [
      'the innermost of several causes',
      coded('Cannot download a/b', new TypeError('fetch failed', { cause: full })),
      'Cannot download a/b: ENOSPC: no space left on device, write',
    ],
    [
      'the innermost error with a code of ours, and what caused that',
      new WorkerLoadError('Cannot load model: it must load', { cause: coded('Cannot download a/b', full) }),
      'Cannot download a/b: ENOSPC: no space left on device, write',
    ],
    [
      'a cause that is said already',
      coded('Cannot download a/b: timed out', new Error('timed out')),
      'Cannot download a/b: timed out',
    ],
    [
      'the first line of a cause of many lines',
      coded('Cannot load', new Error('\nGLIBC_2.34 not found\n  required by x\n  at y')),
      'Cannot load: GLIBC_2.34 not found',
    ],
    [
      'a cause that only wraps several',
      coded('Cannot load', new AggregateError([new Error('connect ECONNREFUSED ::1:1'), new Error('x')])),
      'Cannot load: connect ECONNREFUSED ::1:1',
    ],
    ['a cause that is no error', coded('Cannot load', 'the reason'), 'Cannot load: the reason'],
    [
      'a cause that says nothing',
      coded('Cannot load', new Error('', { cause: Object.assign(new Error(''), { code: 'EMFILE' }) })),
      'Cannot load: EMFILE',
    ],
    ['an error of the system', full, 'ENOSPC: no space left on device, write'],
    ['what is no error', 7, '7'],
  ])('%s', (_what, error, said) => expect(describeFailure(error)).toBe(said));

  test('ends for causes in a circle', () => {
    const error = coded('Cannot load', new Error('round'));
    (error.cause as Error).cause = error.cause;
    expect(describeFailure(error)).toBe('Cannot load: round');
  });
});

test('modelError() is a usage error with the code of what is wrong, and keeps one that is', () => {
  const error = modelError(new WorkerLoadError('it must load', { cause: coded('Cannot download a/b', full) }));
  expect(errorCode(error)).toBe('ERR_USAGE');
  expect(error.message).toBe('ERR_MODEL_DOWNLOAD: Cannot download a/b: ENOSPC: no space left on device, write');
  const given = new UsageError('no');
  expect(modelError(given)).toBe(given);
});

test.each([
  ['ERR_IMAGE_TOO_LARGE', 'at most 50000000 pixels are allowed', '--max-pixels'],
  ['ERR_IMAGE_TOO_LARGE', 'at most 100000000 bytes are allowed', '--max-bytes'],
  ['ERR_IMAGE_TIMEOUT', 'decoding took longer', '--decode-timeout'],
  ['ERR_URL_FETCH', 'no answer within 5000 ms', '--url-timeout'],
  ['ERR_URL_FORBIDDEN', 'its host is not a public address', '--allow-private-urls'],
])('withFlag() names the option for %s, %s', (code, message, flag) => {
  expect(withFlag(code, message)).toBe(`${message} (${withFlag(code, message).slice(message.length + 2, -1)})`);
  expect(withFlag(code, message)).toContain(flag);
  expect(withFlag('ERR_IMAGE_CORRUPT', message)).toBe(message);
});
