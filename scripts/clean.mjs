// Removes build output. Plain JavaScript, so that it runs before anything is built or installed: `node scripts/clean.mjs dist`.
import { rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const root = new URL('../', import.meta.url);
await Promise.all(
  process.argv.slice(2).map((name) => rm(fileURLToPath(new URL(name, root)), { recursive: true, force: true })),
);
