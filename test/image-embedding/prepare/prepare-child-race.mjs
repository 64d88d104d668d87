// Prepares a model in a process of its own: node prepare-child-race.mjs <model folder> <cache>. Prints the folder.
import { readModelFolder } from '../../../dist/image-embedding/index.js';
import { prepareFile, requirePrepareOptions } from '../../../dist/image-embedding/prepare/prepare.js';

const [folder, cacheDir] = process.argv.slice(2);
const settings = requirePrepareOptions('Test', { cacheDir, minBytes: 1 });
process.stdout.write(String(await prepareFile(await readModelFolder(folder), {}, settings)));
