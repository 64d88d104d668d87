// Copies the files of the server's pages beside what was compiled: they are served as they are. Run by `npm run build`.
import { cp } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const root = new URL('../', import.meta.url);
for (const page of ['serve/ui/page', 'serve/search-page/page']) {
  await cp(fileURLToPath(new URL(`src/${page}`, root)), fileURLToPath(new URL(`dist/${page}`, root)), {
    recursive: true,
  });
}
