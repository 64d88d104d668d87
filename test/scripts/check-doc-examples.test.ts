import { expect, test } from 'vitest';
import { checkExamples } from '../../scripts/doc-examples/check.js';
import { type Example, extractFromMarkdown, extractFromSource } from '../../scripts/doc-examples/extract.js';
import { toModule } from '../../scripts/doc-examples/transform.js';

const noImports = () => new Map<string, string>();
const example = (code: string, options: Partial<Example> = {}): Example => ({
  file: 'a.ts',
  line: 10,
  code,
  run: true,
  ...options,
});

async function failuresOf(code: string, options: Partial<Example> & { types?: boolean } = {}): Promise<string[]> {
  const { types = false, ...rest } = options;
  return checkExamples([example(code, rest)], { importsFor: noImports, types, timeLimitMs: 500 });
}

test('extractFromSource() finds the blocks below @example, with their lines and flags', () => {
  const source = [
    '/**',
    ' * Adds.',
    ' * ```ts',
    ' * notAnExample();',
    ' * ```',
    ' * @example',
    ' * ```ts',
    ' * const a = 1;',
    ' *',
    ' * a; // => 1',
    ' * ```',
    ' * @example Another',
    ' * ```ts no-run',
    ' * b;',
    ' * ```',
    ' */',
    'export const x = 1;',
  ].join('\n');
  expect(extractFromSource('x.ts', source)).toEqual([
    { file: 'x.ts', line: 8, code: 'const a = 1;\n\na; // => 1', run: true },
    { file: 'x.ts', line: 14, code: 'b;', run: false },
  ]);
});

test('extractFromMarkdown() finds ts blocks only', () => {
  const page = ['# Page', '```sh', 'ls', '```', '```ts', '1 + 1; // => 2', '```', '```ts no-run', 'x;', '```'].join(
    '\n',
  );
  expect(extractFromMarkdown('p.md', page)).toEqual([
    { file: 'p.md', line: 6, code: '1 + 1; // => 2', run: true },
    { file: 'p.md', line: 9, code: 'x;', run: false },
  ]);
});

test('toModule() keeps lines one to one and imports only the names that are used and not declared', () => {
  const imports = new Map([
    ['used', './a.js'],
    ['unused', './a.js'],
    ['declared', './a.js'],
    ['destructured', './a.js'],
  ]);
  const code = 'const declared = used();\nconst [destructured, x] = [1, 2];\nx; // => 2';
  const lines = toModule(example(code), imports).split('\n');
  expect(lines).toHaveLength(5);
  expect(lines[0]).toContain("import { used } from './a.js'");
  expect(lines[0]).not.toContain('declared');
  expect(lines[0]).not.toContain('destructured');
});

test('checkExamples() passes claims that hold', async () => {
  const code = [
    'const list = [1, 2]; // => [1, 2]',
    'list.map((each) => each + 1); // => [2, 3]',
    'await Promise.resolve({',
    '  a: list,',
    '}); // => { a: [1, 2] }',
    'for (const x of [1]) {',
    '  x; // => 1',
    '}',
    'list',
    '  .filter((x) => x > 1)',
    '  .length;',
    '// => 1',
    'null as unknown as string; // => null',
    "await Promise.reject(new RangeError('no')); // throws RangeError",
    "throw new TypeError('x'); // throws TypeError",
  ].join('\n');
  expect(await failuresOf(code, { types: true })).toEqual([]);
});

test('checkExamples() fails a wrong // => with the line of the document', async () => {
  expect(await failuresOf('const a = 1;\na + 1; // => 3')).toEqual(['a.ts:11: promises 3, is 2']);
  expect(await failuresOf('const a = 1; // => 2')).toEqual(['a.ts:10: promises 2, is 1']);
});

test('checkExamples() fails a throw that does not come, or is another', async () => {
  expect(await failuresOf('Math.abs(1); // throws TypeError')).toEqual([
    'a.ts:10: promises to throw TypeError, does not throw',
  ]);
  expect((await failuresOf("throw new RangeError('r'); // throws TypeError"))[0]).toMatch(
    /^a\.ts:10: promises to throw TypeError, throws RangeError/,
  );
});

test('checkExamples() fails what hangs, exits, rejects unhandled or does not parse, and goes on with the rest', async () => {
  const codes = [
    'await new Promise(() => {});',
    'process.exit(3);',
    'void Promise.reject(1);',
    'const = 1;',
    '1; // => 2',
  ];
  const examples = codes.map((code, index) => example(code, { file: `${index}.ts`, line: 1 }));
  const failures = await checkExamples(examples, { importsFor: noImports, types: false, timeLimitMs: 500 });
  expect(failures.map((each) => each.split('\n')[0]).sort()).toEqual([
    '0.ts:1: no result after 500 ms',
    '1.ts:1: ended its process (3) ',
    '2.ts:1: unhandled rejection: 1',
    expect.stringMatching(/^3\.ts:1: does not parse/),
    '4.ts:1: promises 2, is 1',
  ]);
});

test('checkExamples() type checks every block, and does not run the ones marked no-run', async () => {
  expect(await failuresOf('1; // => 2', { run: false, types: true })).toEqual([]);
  const [failure] = await failuresOf("\nconst n: number = 'text';", { run: false, types: true });
  expect(failure).toMatch(/^a\.ts:11: error TS2322/);
});
