import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createPool, type Pool } from '../../src/pool/index.js';
import { Admission } from '../../src/serve/admission.js';
import { ByteBudget } from '../../src/serve/http/byte-budget.js';
import { ServeMetrics } from '../../src/serve/metrics.js';
import { operation } from '../../src/worker/index.js';

const page = (name: string) => readFile(new URL(`../../docs/${name}`, import.meta.url), 'utf8');

/** What a pool and a server print: the labels of every metric by its name, and of a histogram by the names of its series. */
const labelsOf = new Map<string, Set<string>>();
const typeOf = new Map<string, string>();
let pool: Pool;
beforeAll(async () => {
  pool = createPool({ name: 'documented' });
  const model = pool.register('upper', {
    operations: { upper: operation<string, string>() },
    load: () => ({ upper: (text: string) => text.toUpperCase(), health: () => ({ batchSizes: { 1: 1 } }) }),
  });
  await model.call('upper', 'a');
  const admission = new Admission({ maxUnderWay: 1, timeoutMs: 1_000, now: () => 0 });
  const server = new ServeMetrics(admission, new ByteBudget(1));
  server.count({ protocol: 'openai', route: '/v1/embeddings' }, 200, 0.1);
  for (const line of `${await pool.metrics()}${server.render()}`.split('\n')) {
    const [, declared, type] = /^# TYPE (\S+) (\S+)/.exec(line) ?? [];
    if (declared !== undefined) typeOf.set(declared, type as string);
    const [, name, labels = ''] = /^(\w+)(?:\{(.*)\})? /.exec(line) ?? [];
    if (name === undefined) continue;
    const names = labelsOf.get(name) ?? new Set();
    for (const [, label] of labels.matchAll(/(\w+)="/g)) names.add(label as string);
    labelsOf.set(name, names);
  }
});
afterAll(() => pool.close());

/** Every metric that a PromQL expression names, and the labels it uses of it or groups by. */
function checkExpression(expression: string): void {
  const found = [...expression.matchAll(/(millrace_\w+)(?:\{([^}]*)\})?/g)];
  expect(found.length, expression).toBeGreaterThan(0);
  const known = new Set<string>();
  for (const [, name = '', matchers = ''] of found) {
    const labels = labelsOf.get(name);
    expect(labels, `${name} in ${expression}`).toBeDefined();
    for (const label of labels ?? []) known.add(label);
    for (const [, label] of matchers.matchAll(/(\w+)\s*[=!]/g))
      expect([...(labels ?? [])], expression).toContain(label);
    const isCounter = /_(total|bucket|sum|count)$/.test(name);
    // A counter is only ever seen through its increase.
    expect(new RegExp(`(rate|increase)\\(${name}[{[]`).test(expression), `${name} in ${expression}`).toBe(isCounter);
  }
  for (const [, list = ''] of expression.matchAll(/\b(?:by|on)\s*\(([^)]*)\)/g)) {
    for (const label of list.split(',')) expect([...known], expression).toContain(label.trim());
  }
  let depth = 0;
  for (const character of expression) {
    if ('({['.includes(character)) depth++;
    if (')}]'.includes(character)) depth--;
    expect(depth).toBeGreaterThanOrEqual(0);
  }
  expect(depth, expression).toBe(0);
}

describe('docs/operating', () => {
  test('the tables have every metric of a pool and a server, with its type and labels', async () => {
    const rows = [...(await page('operating.md')).matchAll(/^\| `(millrace_\w+)` +\| (\w+) +\| ?([^|]*)\|/gm)];
    const documented = rows.map(([, name = '', type, labels = '']) => `${name} ${type} ${labels.trim()}`);
    const printed = [...typeOf].map(([name, type]) => {
      const labels = labelsOf.get(type === 'histogram' ? `${name}_count` : name) ?? new Set();
      return `${name} ${type} ${[...labels].join(', ')}`;
    });
    expect(documented.sort()).toEqual(printed.sort());
  });

  test('the dashboard asks for metrics and labels that there are, and shows all of them', async () => {
    const text = await page('operating/grafana-dashboard.json');
    interface Panel {
      readonly id: number;
      readonly type: string;
      readonly gridPos: { readonly x: number; readonly y: number; readonly w: number };
      readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
    }
    const { panels, templating } = JSON.parse(text) as {
      panels: Panel[];
      templating: { list: { name: string; query: string | { query: string } }[] };
    };
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    expect(new Set(panels.map(({ gridPos: { x, y } }) => `${x} ${y}`)).size).toBe(panels.length);
    for (const { targets = [] } of panels) {
      for (const { expr, legendFormat } of targets) {
        checkExpression(expr.replaceAll('$__rate_interval', '5m'));
        for (const [, label = ''] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
          expect(expr, `the legend ${legendFormat}`).toMatch(new RegExp(`by \\([^)]*\\b${label}\\b`));
        }
      }
    }
    for (const name of typeOf.keys()) expect(text, name).toContain(name);
    const variables = templating.list.map(({ name }) => name);
    for (const [, name] of text.matchAll(/\$(\w+)/g)) {
      if (name !== '__rate_interval' && name !== '__all') expect(variables).toContain(name);
    }
    for (const { name, query } of templating.list.slice(1)) {
      const [, metric = '', label] = /label_values\((\w+), (\w+)\)/.exec((query as { query: string }).query) ?? [];
      expect(label).toBe(name);
      expect([...(labelsOf.get(metric) ?? [])]).toContain(label);
    }
  });

  test('the alert rules ask for metrics and labels that there are', async () => {
    const text = await page('operating/alerts.yml');
    // Every rule is `- alert:`, then `expr:` on its line or folded over the following, deeper ones.
    const rules = text.split(/^ {6}- alert: /m).slice(1);
    expect(rules.length).toBeGreaterThanOrEqual(8);
    for (const rule of rules) {
      const [, inline = '', folded = ''] = /^ {8}expr: (?:>-\n((?: {10}.*\n)+)|(.*)\n)/m.exec(rule) ?? [];
      const expression = `${inline}${folded}`.replace(/\s+/g, ' ').trim();
      checkExpression(expression);
      expect(rule).toMatch(/severity: (critical|warning)/);
      for (const [, label = ''] of rule.matchAll(/\$labels\.(\w+)/g)) {
        expect(expression).toMatch(new RegExp(`by \\([^)]*\\b${label}\\b`));
      }
    }
  });
});
