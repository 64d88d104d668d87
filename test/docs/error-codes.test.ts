import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { glob } from 'tinyglobby';
import { expect, test } from 'vitest';
import * as channels from '../../src/channels/index.js';
import { MillraceError } from '../../src/core/index.js';
import { BatchError } from '../../src/image-embedding/facade/embed-images.js';
import { imageErrorClasses } from '../../src/image-embedding/image-errors.js';
import { modelErrorClasses } from '../../src/image-embedding/model/model-errors.js';
import * as nats from '../../src/nats/index.js';
import * as pool from '../../src/pool/index.js';
import * as remote from '../../src/remote/index.js';
import * as search from '../../src/search/index.js';
import * as worker from '../../src/worker/index.js';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** The codes in the tables of the guide, with their faults. */
async function documented(): Promise<Map<string, string>> {
  const guide = await readFile(`${root}docs/errors.md`, 'utf8');
  const codes = new Map<string, string>();
  for (const [, list = '', fault = ''] of guide.matchAll(/^\| *((?:`ERR_\w+`,? *)+) *\| *(\w+) *\|/gm)) {
    for (const [code] of list.matchAll(/ERR_\w+/g)) codes.set(code, fault);
  }
  return codes;
}

/** The error classes that a layer exports. */
function classesOf(layer: object): (new (...args: never[]) => MillraceError)[] {
  const exported: unknown[] = Object.values({
    ...channels.mpsc,
    ...channels.broadcast,
    ...channels.watch,
    ...layer,
  });
  return exported.filter(
    (each): each is new (...args: never[]) => MillraceError =>
      typeof each === 'function' && each.prototype instanceof MillraceError,
  );
}

test('the guide has each code of the library', async () => {
  const sources = await glob('src/**/*.ts', { cwd: root, absolute: true });
  const codes: string[] = [];
  for (const source of sources) {
    const text = await readFile(source, 'utf8');
    for (const [, body = ''] of text.matchAll(/interface MillraceErrors \{([^}]*)\}/g)) {
      for (const [code] of body.matchAll(/ERR_\w+/g)) codes.push(code);
    }
  }
  expect(codes.length).toBeGreaterThan(50);
  expect([...(await documented()).keys()].sort()).toEqual([...new Set(codes)].sort());
});

test('the guide says whose fault each error is', async () => {
  const errors = [
    ...[...imageErrorClasses, ...modelErrorClasses].map((each) => new each('')),
    new BatchError([], 0),
    ...[channels, worker, pool, remote, search, nats]
      .flatMap(classesOf)
      .map((each) => Reflect.construct(each, ['', 1, 1, []])),
  ] as MillraceError[];
  const actual = new Map(errors.map(({ code, fault }) => [code, fault as string]));
  const guide = await documented();
  expect(actual.size).toBeGreaterThan(45);
  expect(Object.fromEntries([...guide].filter(([code]) => actual.has(code)).sort())).toEqual(
    Object.fromEntries([...actual].sort()),
  );
});
