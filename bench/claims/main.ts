/**
 * `npm run bench -- claims`: asks Millrace and its peers what the README's comparison says of them, by doing it, and prints the tables. With `--write`
 * they go into `bench/claims/README.md`, which the gate compares with the README.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { installPeers } from '../harness/prepare.js';
import type { Claim } from './claim.js';

export async function run(args: string[]): Promise<void> {
  await installPeers();
  const tables: string[] = [];
  for (const group of ['channels', 'pools', 'embedding']) {
    // By URL: the gate, which has no peers, does not follow it.
    const module = (await import(new URL(`./peers/${group}.ts`, import.meta.url).href)) as { claims: readonly Claim[] };
    tables.push(await toTable(module.claims));
  }
  const text = tables.join('\n\n');
  process.stdout.write(`${text}\n`);
  if (!args.includes('--write')) return;
  const page = new URL('./README.md', import.meta.url);
  const before = (await readFile(page, 'utf8')).split('<!-- tables -->')[0];
  await writeFile(page, `${before}<!-- tables -->\n\n${text}\n`);
}

async function toTable(claims: readonly Claim[]): Promise<string> {
  const names = Object.keys(claims[0]?.answers ?? {});
  const rows = [['', ...names], names.map(() => '---')];
  rows[1]?.unshift('---');
  for (const { question, answers } of claims) {
    const cells: string[] = [];
    for (const name of names) {
      process.stderr.write(`${question}: ${name}\n`);
      cells.push((await answers[name]?.()) ?? '');
    }
    rows.push([question, ...cells]);
  }
  return rows.map((row) => `| ${row.join(' | ')} |`).join('\n');
}
