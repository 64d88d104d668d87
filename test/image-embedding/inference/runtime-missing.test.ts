import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const run = promisify(execFile);
const dist = new URL('../../../dist/image-embedding/', import.meta.url).href;
const models = fileURLToPath(new URL('../../../models/mobilenet-v1-0.25', import.meta.url));

/** Loads the default model in a process where onnxruntime-node can't be found; prints the error. */
const script = `
import { register } from 'node:module';
const hook = 'export async function resolve(name, context, next) {'
  + ' if (name !== "onnxruntime-node") return next(name, context);'
  + ' throw Object.assign(new Error("Cannot find package"), { code: "ERR_MODULE_NOT_FOUND" }); }';
register('data:text/javascript,' + encodeURIComponent(hook));
const { EmbeddingSession } = await import('${dist}inference/session.js');
const { readModelFolder } = await import('${dist}model/model-folder.js');
const spec = await readModelFolder(${JSON.stringify(models)});
const { code, message, fault } = await EmbeddingSession.load(spec).catch((error) => error);
console.log(JSON.stringify({ code, message, fault }));
`;

test('EmbeddingSession.load() says what to install when onnxruntime-node is missing', async () => {
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', script]);
  expect(JSON.parse(stdout)).toEqual({
    code: 'ERR_MODEL_RUNTIME_MISSING',
    fault: 'system',
    message: expect.stringMatching(/onnxruntime-node.*npm install --ignore-scripts onnxruntime-node sharp$/),
  });
});
