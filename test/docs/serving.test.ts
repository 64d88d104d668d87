import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';

const read = (path: string): Promise<string> => readFile(new URL(`../../${path}`, import.meta.url), 'utf8');

test('docs/serving.md names each client package that is tested, in the version that is tested', async () => {
  const { dependencies } = JSON.parse(await read('test/serve/clients/package.json')) as {
    dependencies: Record<string, string>;
  };
  const page = await read('docs/serving.md');
  const named = [...page.matchAll(/`([^`\s]+)` (\d+\.\d+\.\d+)/g)].map(([, name, version]) => [name, version]);
  expect(Object.fromEntries(named)).toEqual(dependencies);
  // And has the lines that point it here.
  for (const name of Object.keys(dependencies)) expect(page).toContain(`from '${name}'`);
});
