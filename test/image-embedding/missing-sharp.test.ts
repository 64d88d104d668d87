import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

it('createPreprocessor() names the package and the command when sharp is not installed', {
  timeout: 60_000,
}, async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'millrace-bare-'));
  try {
    // Of the packages it has those that everybody has, and not the optional ones.
    const root = fileURLToPath(new URL('../../', import.meta.url));
    const { dependencies } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));
    for (const name of Object.keys(dependencies)) {
      const link = path.join(folder, 'node_modules', name);
      await mkdir(path.dirname(link), { recursive: true });
      await symlink(path.join(root, 'node_modules', name), link, 'junction');
    }
    await cp(fileURLToPath(new URL('../../dist', import.meta.url)), path.join(folder, 'dist'), { recursive: true });
    const module = pathToFileURL(path.join(folder, 'dist/image-embedding/decode/preprocessor.js')).href;
    const script = `
      const { createPreprocessor } = await import(${JSON.stringify(module)});
      const preprocessor = createPreprocessor({ mean: [0, 0, 0], std: [1, 1, 1], rescale: 1, dtype: 'uint8' });
      const error = await preprocessor.decode(new Uint8Array(9)).catch((reason) => reason);
      console.log(JSON.stringify([error.code, error.fault, error.message, error.cause.code]));`;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
      cwd: folder,
    });
    expect(JSON.parse(stdout)).toEqual([
      'ERR_DEPENDENCY_MISSING',
      'system',
      'Cannot decode image: the optional package sharp could not be loaded, install it with ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node sharp',
      'ERR_MODULE_NOT_FOUND',
    ]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
