import { expect, test } from 'vitest';
import { findViolations } from '../../scripts/check-layers.js';

const file = (name: string, text: string) => ({ name, text });

test('findViolations() refuses an import that points up, or past an index', () => {
  expect(findViolations([file('channels/a.ts', "import { x } from '../worker/index.js';")])).toHaveLength(1);
  expect(findViolations([file('worker/a.ts', "import { x } from '../channels/mpsc/chan.js';")])).toHaveLength(1);
  expect(findViolations([file('worker/hosts/a.ts', "import { x } from '../../channels/index.js';")])).toEqual([]);
  expect(findViolations([file('worker/hosts/a.ts', "import type { x } from '../state.js';")])).toEqual([]);
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
