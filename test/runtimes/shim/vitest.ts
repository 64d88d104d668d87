/** The part of vitest that the suites of the channels use, for runtimes that vitest does not run on. Collects tests; {@link run} runs them. */
import {
  ASYMMETRIC_MATCHERS_OBJECT,
  chai,
  customMatchers,
  GLOBAL_EXPECT,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
  setState,
} from '@vitest/expect';
import { NodeOnly } from './node-only.js';

chai.use(JestExtend);
chai.use(JestChaiExpect);
chai.use(JestAsymmetricMatchers);

// biome-ignore lint/suspicious/noExplicitAny: vitest's own expect is made in the same way.
export const expect: any = (value: unknown, message?: string) => chai.expect(value, message);
Object.assign(expect, chai.expect, (globalThis as Record<symbol, unknown>)[ASYMMETRIC_MATCHERS_OBJECT]);
expect.fail = chai.expect.fail;
Reflect.set(globalThis, GLOBAL_EXPECT, expect);
(chai.expect as unknown as { extend(own: unknown, matchers: unknown): void }).extend(expect, customMatchers);
setState(
  { assertionCalls: 0, currentTestName: '', isExpectingAssertions: false, expectedAssertionsNumber: null },
  expect,
);

type Act = (...args: never[]) => unknown;
interface Group {
  readonly name: string;
  readonly parent: Group | undefined;
  readonly beforeAll: Act[];
  readonly afterAll: Act[];
  readonly beforeEach: Act[];
  readonly afterEach: Act[];
  isBegun: boolean;
  left: number;
}
interface Case {
  readonly name: string;
  readonly group: Group;
  readonly act: Act;
  readonly args: readonly unknown[];
  readonly isSkipped: boolean;
}

const groupOf = (name: string, parent: Group | undefined): Group => ({
  name,
  parent,
  beforeAll: [],
  afterAll: [],
  beforeEach: [],
  afterEach: [],
  isBegun: false,
  left: 0,
});
let group = groupOf('', undefined);
const cases: Case[] = [];
let file = '';

/** Names the file that the next tests are of. */
export function beginFile(name: string): void {
  file = name;
  group = groupOf(name, undefined);
}

function addCase(name: unknown, act: Act, args: readonly unknown[] = [], isSkipped = false): void {
  const names = [String(name)];
  for (let each: Group | undefined = group; each !== undefined; each = each.parent) {
    each.left += 1;
    if (each.name !== file) names.unshift(each.name);
  }
  cases.push({ name: [file, ...names].join(' > '), group, act, args, isSkipped });
}

function addGroup(name: unknown, act: Act, args: readonly unknown[] = []): void {
  const outer = group;
  group = groupOf(String(name), outer);
  try {
    (act as (...each: unknown[]) => void)(...args);
  } finally {
    group = outer;
  }
}

/** The function among the arguments: options or a timeout may stand on either side of it. */
const actOf = (args: readonly unknown[]): Act => args.find((each) => typeof each === 'function') as Act;

function withVariants(add: (name: unknown, act: Act, args?: readonly unknown[], isSkipped?: boolean) => void) {
  const own = (name: unknown, ...rest: unknown[]): void => add(name, actOf(rest));
  const each =
    (rows: readonly unknown[]) =>
    (name: unknown, ...rest: unknown[]): void => {
      for (const [index, row] of rows.entries()) {
        add(`${String(name)} #${index}`, actOf(rest), Array.isArray(row) ? row : [row]);
      }
    };
  const forRows =
    (rows: readonly unknown[]) =>
    (name: unknown, ...rest: unknown[]): void => {
      for (const [index, row] of rows.entries()) add(`${String(name)} #${index}`, actOf(rest), [row]);
    };
  const skip = (name: unknown, ...rest: unknown[]): void => add(name, actOf(rest), [], true);
  const skipIf = (isSkipped: unknown) => (isSkipped ? skip : own);
  const runIf = (isRun: unknown) => (isRun ? own : skip);
  return Object.assign(own, { each, for: forRows, concurrent: own, sequential: own, skip, skipIf, runIf });
}

export const test = withVariants(addCase);
export const it = test;
export const describe = withVariants(addGroup);
export const beforeAll = (act: Act): void => void group.beforeAll.push(act);
export const afterAll = (act: Act): void => void group.afterAll.push(act);
export const beforeEach = (act: Act): void => void group.beforeEach.push(act);
export const afterEach = (act: Act): void => void group.afterEach.push(act);
/** Types are tested elsewhere. */
export const expectTypeOf = (): unknown =>
  new Proxy(() => {}, { get: () => expectTypeOf(), apply: () => expectTypeOf() });
export const vi = {
  setConfig: () => {},
  get useFakeTimers(): never {
    throw new NodeOnly('vi.useFakeTimers');
  },
  get fn(): never {
    throw new NodeOnly('vi.fn');
  },
};

/** What came of the suites in a runtime. */
export interface Outcome {
  passed: number;
  /** Cases that need Node: an inspector, streams of Node, a garbage collection on demand. */
  nodeOnly: number;
  failed: { name: string; error: string }[];
}

const TIMEOUT_MS = 20_000;

/** Runs every test that was collected. */
export async function run(): Promise<Outcome> {
  const outcome: Outcome = { passed: 0, nodeOnly: 0, failed: [] };
  for (const { name, group: own, act, args, isSkipped } of cases) {
    const way: Group[] = [];
    for (let each: Group | undefined = own; each !== undefined; each = each.parent) way.unshift(each);
    try {
      if (isSkipped) throw new NodeOnly('skip');
      await withinTime(async () => {
        for (const each of way) {
          if (!each.isBegun) await all(each.beforeAll);
          each.isBegun = true;
        }
        for (const each of way) await all(each.beforeEach);
        try {
          await (act as (...each: unknown[]) => unknown)(...args);
        } finally {
          for (const each of way.reverse()) await all(each.afterEach);
        }
      });
      outcome.passed += 1;
    } catch (error) {
      if (isNodeOnly(error)) outcome.nodeOnly += 1;
      else outcome.failed.push({ name, error: String((error as Error | undefined)?.stack ?? error).slice(0, 600) });
    }
    for (let each: Group | undefined = own; each !== undefined; each = each.parent) {
      each.left -= 1;
      if (each.left === 0 && each.isBegun) await all(each.afterAll).catch(() => undefined);
    }
  }
  return outcome;
}

async function all(acts: readonly Act[]): Promise<void> {
  for (const act of acts) await (act as () => unknown)();
}

function isNodeOnly(error: unknown): boolean {
  for (let each = error, depth = 0; each instanceof Error && depth < 5; each = each.cause, depth += 1) {
    if (each instanceof NodeOnly || each.message.includes(NodeOnly.mark)) return true;
  }
  return false;
}

function withinTime(act: () => Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no end within ${TIMEOUT_MS} ms`)), TIMEOUT_MS);
    act()
      .then(resolve, reject)
      .finally(() => clearTimeout(timer));
  });
}
