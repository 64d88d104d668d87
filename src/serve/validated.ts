/** Checks a parsed body by its schema. */
import * as v from 'valibot';
import { Refusal } from './http/refusal.js';

/**
 * The value that a schema makes of a body; a refusal that names the part at fault where it is not what the schema wants.
 *
 * @param root The name of the value, where it is a part of the body.
 */
export function validated<Schema extends v.GenericSchema>(
  schema: Schema,
  value: unknown,
  root: string = '',
): v.InferOutput<Schema> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const issue = deepest(result.issues[0] as v.BaseIssue<unknown>);
  const param = pathOf(root, issue.path);
  throw new Refusal('invalid', `${param === '' ? 'The body' : param}: ${expectation(issue)}`, {
    param: param === '' ? undefined : param,
    code: 'invalid_value',
  });
}

/** What was expected, without the value that came: it may be an input. */
function expectation({ expected, received, message }: v.BaseIssue<unknown>): string {
  if (expected === null) return message.slice(0, message.lastIndexOf(' but received'));
  const kind = /^[A-Za-z]+$/.test(received) ? `, received ${received}` : '';
  return `expected ${expected.toLowerCase()}${kind.toLowerCase()}`;
}

/** Of a value that could have been several things, the fault of the one that came furthest. */
function deepest(issue: v.BaseIssue<unknown>): v.BaseIssue<unknown> {
  let found = issue;
  let path: readonly v.IssuePathItem[] = issue.path ?? [];
  for (const inner of issue.issues ?? []) {
    const candidate = deepest(inner);
    const candidatePath = [...(issue.path ?? []), ...(candidate.path ?? [])];
    if (candidatePath.length > path.length) {
      path = candidatePath;
      found = { ...candidate, path: candidatePath as [v.IssuePathItem, ...v.IssuePathItem[]] };
    }
  }
  return found;
}

/** The way to a value: `input[7].image_url`. */
function pathOf(root: string, path: readonly { readonly key: unknown }[] | undefined): string {
  let text = root;
  for (const { key } of path ?? []) {
    if (typeof key === 'number') text += `[${key}]`;
    else text += text === '' ? String(key) : `.${String(key)}`;
  }
  return text.slice(0, 100);
}
