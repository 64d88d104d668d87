import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { createIndex } from '../../src/search/index.js';
import { program, testNeeding } from '../support/needs.js';
import { entriesOf, pathOf, plainSearch, vectorOf } from './support/vectors.js';

const numpy = { ...program('python3', '-c', 'import numpy'), name: 'python3-numpy' };

const SCRIPT = `
import json, sys, numpy
folder = sys.argv[1]
index = json.load(open(folder + "/index.json"))
vectors = numpy.load(folder + "/vectors.npy", mmap_mode="r")[: index["rows"]]
items = [json.loads(line) for line in open(folder + "/items.jsonl", encoding="utf-8")][: index["rows"]]
scores = vectors @ numpy.array(json.loads(sys.argv[2]), dtype=numpy.float32)
scores[index["gone"]] = -2
best = numpy.argsort(-scores, kind="stable")[:5]
print(json.dumps([[items[row]["path"], float(scores[row])] for row in best]))
`;

testNeeding(numpy)('numpy reads the files of an index as they are, also while it is open for writing', async () => {
  const root = await mkdtemp(path.join(tmpdir(), 'millrace-numpy-'));
  const folder = path.join(root, 'photos.idx');
  const index = await createIndex(folder, { dimension: 12 });
  try {
    const entries = entriesOf(0, 300, 12);
    await index.add(entries.slice(0, 200));
    await index.add(entries.slice(200));
    await index.remove([pathOf(7), pathOf(250)]);
    const query = vectorOf(7, 12);
    const { stdout } = await promisify(execFile)('python3', ['-c', SCRIPT, folder, JSON.stringify([...query])]);
    const found = JSON.parse(stdout) as [string, number][];
    const left = entries.filter(({ path: file }) => index.get(file) !== undefined);
    const expected = plainSearch(left, query, 5);
    expect(found.map(([file]) => file)).toEqual(expected.map((hit) => hit.path));
    for (const [at, [, score]] of found.entries()) expect(score).toBeCloseTo(expected[at]?.score as number, 5);
  } finally {
    await index.close();
    await rm(root, { recursive: true, force: true });
  }
});
