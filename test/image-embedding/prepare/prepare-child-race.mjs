// Prepares a model in a process of its own: node prepare-child-race.mjs <model.onnx> <cache>. Prints the folder.
import { prepareFile, requirePrepareOptions } from '../../../dist/image-embedding/prepare/prepare-model.js';

const [file, cacheDir] = process.argv.slice(2);
process.stdout.write(String(await prepareFile(file, {}, requirePrepareOptions('Test', { cacheDir, minBytes: 1 }))));
