import { expect, test } from 'vitest';
import { findDocFaults, publicNames } from '../../scripts/check-doc-blocks.js';

const all = () => true;

function faultsIn(text: string): string[] {
  return findDocFaults([{ name: 'a.ts', text }], all);
}

test('findDocFaults() finds nothing in what is documented', () => {
  const text = `
/**
 * Waits. It behaves.
 *
 * **Cancel safety:** cancel safe.
 *
 * @param ms How long.
 * @param options.signal Gives up.
 * @returns Nothing.
 * @throws TypeError When it is wrong.
 * @example
 * \`\`\`ts
 * await wait(1);
 * \`\`\`
 */
export function wait(ms: number, options?: object): Promise<void> {
}

/** A class. */
export class Thing {
  readonly #hidden = 1;

  /** @internal */
  inner = 2;

  /** A figure. */
  get figure(): number {
    return 1;
  }

  #own(): Promise<void> {
  }
}
`;
  expect(faultsIn(text)).toEqual([]);
});

test('findDocFaults() finds what lacks a comment, a Cancel safety line, its order or its parameter', () => {
  expect(faultsIn('export function bare(): void {\n}\n')).toEqual(['a.ts:1: bare has no doc comment']);
  expect(faultsIn('/** A class. */\nexport class Thing {\n  figure(): number {\n  }\n}\n')).toEqual([
    'a.ts:3: Thing.figure has no doc comment',
  ]);
  expect(faultsIn('/** Waits. */\nexport async function wait(): Promise<void> {\n}\n')).toEqual([
    'a.ts:2: wait answers a promise and does not say how safe it is to cancel',
  ]);
  expect(
    faultsIn(
      '/** A class. */\nexport class A {\n  /** Waits. */\n  wait(\n    ms: number,\n  ): Promise<void> {\n  }\n}\n',
    ),
  ).toEqual(['a.ts:4: A.wait answers a promise and does not say how safe it is to cancel']);
  expect(
    faultsIn('/**\n * Does.\n *\n * @returns One.\n * @param a First.\n */\nexport function f(a: 1): 1 {\n}\n'),
  ).toEqual(['a.ts:7: f: @param comes after @returns']);
  expect(faultsIn('/**\n * Does.\n *\n * @param b First.\n */\nexport function f(a: 1): 1 {\n}\n')).toEqual([
    'a.ts:6: f: @param b names no parameter',
  ]);
});

test('publicNames() are those of the entries, and of what they inherit from', () => {
  const entries = [
    { name: 'index.ts', text: "export { A, type B } from './a.js';\nexport type { C } from './c.js';\n" },
  ];
  const files = [
    { name: 'a.ts', text: 'export class A<T> extends Base<T> {\n}\nexport class Other extends Hidden {\n}\n' },
  ];
  expect([...publicNames(entries, files)].sort()).toEqual(['A', 'B', 'Base', 'C']);
});
