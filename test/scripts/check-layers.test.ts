import { expect, test } from 'vitest';
import { findCircles, findViolations, longestChains } from '../../scripts/check-layers.js';

const file = (name: string, text: string) => ({ name, text });

test('findViolations() refuses an import that points up, or past an index', () => {
  expect(findViolations([file('channels/a.ts', "import { x } from '../worker/index.js';")])).toHaveLength(1);
  expect(findViolations([file('worker/a.ts', "import { x } from '../channels/mpsc/chan.js';")])).toHaveLength(1);
  expect(findViolations([file('worker/hosts/a.ts', "import { x } from '../../channels/index.js';")])).toEqual([]);
  expect(findViolations([file('worker/hosts/a.ts', "import type { x } from '../state.js';")])).toEqual([]);
});

test('findViolations() lets a sister layer in through internal.ts', () => {
  expect(findViolations([file('pool/model/a.ts', "import { x } from '../../worker/internal.js';")])).toEqual([]);
  expect(findViolations([file('worker/a.ts', "import { x } from '../pool/internal.js';")])).toHaveLength(1);
  expect(findViolations([file('pool/a.ts', "import { x } from '../worker/link/internal.js';")])).toHaveLength(1);
});

test.each([
  ['remote', 'pool', true],
  ['remote', 'nats', false],
  ['remote', 'image-embedding', false],
  ['nats', 'remote', true],
  ['nats', 'image-embedding', false],
  ['image-embedding', 'remote', true],
  ['image-embedding', 'nats', false],
  ['search', 'image-embedding', true],
  ['search', 'serve', false],
  ['serve', 'search', true],
  ['serve', 'nats', false],
  ['serve', 'cli', false],
  ['cli', 'serve', true],
  ['cli', 'nats', true],
])('findViolations() knows whether %s may import %s', (from, to, isAllowed) => {
  const violations = findViolations([file(`${from}/a.ts`, `import { x } from '../${to}/index.js';`)]);
  expect(violations.length === 0).toBe(isAllowed);
});

test('findViolations() names a layer that does not exist', () => {
  expect(findViolations([file('utils/a.ts', '')])).toEqual(['utils/a.ts: no such layer: utils']);
});

test('findViolations() refuses a Node API in the portable layers, and a second importer of a native package', () => {
  expect(findViolations([file('core/a.ts', "import { x } from 'node:fs';")])).toHaveLength(1);
  expect(findViolations([file('channels/stream/node.ts', "import { x } from 'node:stream';")])).toEqual([]);
  expect(
    findViolations([
      file('image-embedding/a.ts', "const sharp = await import('sharp');"),
      file('image-embedding/b.ts', "import sharp from 'sharp';"),
    ]),
  ).toHaveLength(1);
});

test('findViolations() keeps NATS in src/nats and Hono in src/serve', () => {
  expect(findViolations([file('nats/bulk/a.ts', "import { jetstream } from '@nats-io/jetstream';")])).toEqual([]);
  expect(findViolations([file('cli/a.ts', "const n = await import('@nats-io/transport-node');")])).toHaveLength(1);
  expect(findViolations([file('serve/a.ts', "import { serve } from '@hono/node-server';")])).toEqual([]);
  expect(findViolations([file('cli/a.ts', "import { cors } from 'hono/cors';")])).toHaveLength(1);
});

test('findCircles() prints the circles of value imports inside a layer, and lets types pass', () => {
  const back = (kind: string) => [
    file('pool/a.ts', "import { b } from './b.js';"),
    file('pool/b.ts', "import { c } from './parts/c.js';"),
    file('pool/parts/c.ts', `${kind} from '../a.js';`),
  ];
  expect(findCircles(back('import { a }'))).toHaveLength(1);
  expect(findCircles(back('export { a }'))[0]).toMatch(/^pool\/(\S+) -> \S+ -> \S+ -> pool\/\1$/);
  expect(findCircles(back('import type { a }'))).toEqual([]);
  expect(findCircles(back('export type { a }'))).toEqual([]);
});

test('longestChains() counts the files on the way down, types and circles included', () => {
  const chains = longestChains([
    file('pool/a.ts', "import type { b } from './b.js'; // and\nimport { d } from './d.js';"),
    file('pool/b.ts', "import { c } from './c.js';\nimport { x } from '../worker/index.js';"),
    file('pool/c.ts', "import type { b } from './b.js';\nimport { d } from './d.js';"),
    file('pool/d.ts', ''),
    file('worker/index.ts', ''),
  ]);
  expect(chains.get('pool')).toHaveLength(4);
  expect(chains.get('worker')).toEqual(['worker/index.ts']);
});
