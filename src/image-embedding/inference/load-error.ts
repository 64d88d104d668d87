/** What onnxruntime's failures to load a model are called: it tells them apart by their text alone. */
import { open, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { messageOf } from '../../core/index.js';
import { ModelCorruptError, ModelLoadError, ModelNotFoundError, ModelUnsupportedError } from '../model/model-errors.js';
import { isLfsPointer, weightFiles } from '../model/weights.js';

const UPDATE = 'update onnxruntime-node';

/** Looks at a file before onnxruntime does. */
export async function requireModelFile(file: string): Promise<void> {
  const info = await stat(file).catch((cause: unknown) => {
    throw new ModelNotFoundError(`Cannot load model: ${file} could not be found`, { cause });
  });
  if (!info.isFile()) throw new ModelNotFoundError(`Cannot load model: ${file} must be a file, found something else`);
  if (info.size === 0) throw new ModelCorruptError(`Cannot load model: ${file} is empty`);
  const folder = path.dirname(path.resolve(file)) + path.sep;
  // A small weight would be made of a pointer's text without a word.
  const inside = (await weightFiles(file)).filter((each) => each.startsWith(folder));
  for (const each of [file, ...inside]) if (await beginsAsPointer(each)) throw pointer(each);
}

/**
 * The error for a model that onnxruntime would not load.
 *
 * @param version The version of onnxruntime-node.
 */
export async function loadError(file: string, cause: unknown, version: string): Promise<Error> {
  const text = messageOf(cause);
  const unsupported = (what: string): ModelUnsupportedError =>
    new ModelUnsupportedError(`Cannot load model: ${file} ${what} (version ${version}): ${UPDATE}`, { cause });

  const ir = /Unsupported model IR version: (\d+), max supported IR version: (\d+)/.exec(text);
  if (ir !== null)
    return unsupported(`is of IR version ${ir[1]}, and at most ${ir[2]} is read by this onnxruntime-node`);
  const opset = /Opset (\d+) is under development[\s\S]*?for domain ([\w.]+) is till opset (\d+)/.exec(text);
  if (opset !== null) {
    return unsupported(
      `uses opset ${opset[1]} of ${opset[2]}, and at most ${opset[3]} is known to this onnxruntime-node`,
    );
  }
  const operator = /No Op registered for (\S+) with domain_version of (\d+)/.exec(text);
  if (operator !== null) {
    return unsupported(
      `needs the operator ${operator[1]} of opset ${operator[2]}, which is not known to this onnxruntime-node`,
    );
  }
  const other =
    /([\w.]+:\w+)\(-?\d+\) is not a registered function\/op/.exec(text) ??
    /Could not find an implementation for (\w+\(\d+\))/.exec(text);
  if (other !== null) return unsupported(`needs the operator ${other[1]}, which is not known to this onnxruntime-node`);

  if (/protobuf|ModelProto does not|No graph was found|corrupt/i.test(text)) {
    return new ModelCorruptError(`Cannot load model: ${file} is no sound ONNX model`, { cause });
  }
  return (
    (await weightsError(file, cause)) ??
    new ModelLoadError(`Cannot load model: onnxruntime refused ${file}: ${reason(text)}`, { cause })
  );
}

/** The fault of the files that hold a graph's external weights, if they have one. */
async function weightsError(file: string, cause: unknown): Promise<Error | undefined> {
  const weights = await weightFiles(file);
  const folder = await realpath(path.dirname(file)).catch(() => path.dirname(file));
  for (const each of weights) {
    const inside = path.relative(path.dirname(path.resolve(file)), each);
    if (inside.startsWith('..') || path.isAbsolute(inside)) {
      return new ModelLoadError(`Cannot load model: ${file} keeps weights outside its folder, in ${inside}`, { cause });
    }
    const real = await realpath(each).catch(() => undefined);
    if (real === undefined) {
      return new ModelLoadError(`Cannot load model: ${file} keeps weights in ${inside}, which is missing`, { cause });
    }
    if (/escapes|outside/i.test(messageOf(cause)) && !real.startsWith(folder + path.sep)) {
      return new ModelLoadError(`Cannot load model: ${file} keeps weights outside its folder, in ${real}`, { cause });
    }
  }
  return undefined;
}

function pointer(file: string): ModelCorruptError {
  return new ModelCorruptError(
    `Cannot load model: ${file} is a pointer of Git LFS, not the file itself: bring it with git lfs pull`,
  );
}

async function beginsAsPointer(file: string): Promise<boolean> {
  const handle = await open(file).catch(() => undefined);
  if (handle === undefined) return false;
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(64), 0, 64, 0);
    return isLfsPointer(buffer.subarray(0, bytesRead).toString('latin1'));
  } finally {
    await handle.close();
  }
}

/** The first line, without what stands before it in each: the file, and the signature of a C++ function. */
function reason(text: string): string {
  const line = text.split('\n', 1)[0] as string;
  return line
    .replace(/^.*?failed:\s*/, '')
    .replace(/^\/\S+:\d+ .*?\) (?=[A-Z])/, '')
    .slice(0, 300);
}
