/**
 * The channels for JSR: `npm run jsr` writes core and channels to `.cache/jsr` as JSR takes them, and has Deno check that they could be published. It
 * publishes nothing; in that folder `deno publish` does.
 *
 * JSR wants the endings of files in imports and no declarations that add to another module's types: the errors by their codes, which each layer adds to,
 * are written out here.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));
const target = path.join(root, '.cache', 'jsr');
const deno = path.join(root, 'test/runtimes/node_modules/@deno/linux-x64-glibc/deno');
const { version, license, dependencies } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));

if (!existsSync(deno)) throw new Error('Cannot write for JSR: Deno is not there; npm run test:runtimes installs it');
await rm(target, { recursive: true, force: true });
await mkdir(target, { recursive: true });
for (const layer of ['core', 'channels'])
  await cp(path.join(root, 'src', layer), path.join(target, layer), { recursive: true });
for (const name of ['README.md', 'LICENSE']) await cp(path.join(root, name), path.join(target, name));
for (const name of await readdir(target, { recursive: true })) {
  if (!name.endsWith('.ts')) continue;
  const file = path.join(target, name);
  const text = await readFile(file, 'utf8');
  await writeFile(file, text.replace(/(\bfrom |\bimport\(|declare module )'(\.[^']+)\.js'/g, "$1'$2.ts'"));
}

const errors = path.join(target, 'channels', 'errors.ts');
const text = await readFile(errors, 'utf8');
const added = /\ndeclare module '[^']+' \{\s*interface MillraceErrors \{([^}]*)\}\s*\}\n/.exec(text);
if (added === null) throw new Error('Cannot write for JSR: channels/errors.ts adds no errors');
const names = [
  ...new Set([...(added[1] as string).matchAll(/\b([A-Z][a-z]\w*Error)\b/g)].map(([, name]) => name as string)),
];
await writeFile(errors, text.replace(added[0], '\n'));
const core = path.join(target, 'core', 'errors.ts');
const base = await readFile(core, 'utf8');
const written = base.replace('export interface MillraceErrors {}', `export interface MillraceErrors {${added[1]}}`);
if (written === base) throw new Error('Cannot write for JSR: core/errors.ts has no MillraceErrors to fill');
await writeFile(core, `import type { ${names.join(', ')} } from '../channels/errors.ts';\n${written}`);

await writeFile(
  path.join(target, 'deno.json'),
  JSON.stringify({
    name: '@millrace/channels',
    version,
    license,
    exports: {
      '.': './channels/index.ts',
      './port': './channels/port/index.ts',
      './node': './channels/stream/node.ts',
    },
    imports: { '@repeaterjs/repeater': `npm:@repeaterjs/repeater@${dependencies['@repeaterjs/repeater']}` },
  }),
);
execFileSync(deno, ['publish', '--dry-run', '--allow-dirty'], { cwd: target, stdio: 'inherit' });
