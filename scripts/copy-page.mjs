// Copies the files of the server's page beside what was compiled: they are served as they are. Run by `npm run build`.
import { cp } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const root = new URL('../', import.meta.url);
const page = 'serve/ui/page';
await cp(fileURLToPath(new URL(`src/${page}`, root)), fileURLToPath(new URL(`dist/${page}`, root)), {
  recursive: true,
});
