import { mkdtemp, readFile, rmdir, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { availableCores } from '../../pool/index.js';
import { availableMemory } from '../../pool/internal.js';
import { packageFile } from '../../worker/internal.js';
import { describeFailure, EXIT, type ExitCode, errorCode, errorMessage } from '../errors.js';
import { formatDuration } from '../terminal/text.js';
import type { CommandContext } from './context.js';
import { cacheFolder } from './model-cache.js';

/** One line of the output. */
interface Finding {
  readonly isOk: boolean;
  readonly what: string;
  readonly found: string;
  /** What to do about it. */
  readonly advice?: string;
}

const INSTALL = 'ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node sharp';
const MIN_NODE = [20, 19] as const;
const GIGABYTE = 2 ** 30;
const LEAST_MEMORY = 160_000_000;
const MEMORY_OF_TWO = GIGABYTE / 2;

/** `millrace doctor`: checks what millrace needs of the machine and embeds a picture. Every line is ok or says what to do. */
export async function doctorCommand(context: CommandContext): Promise<ExitCode> {
  const natives = [await checkNative('onnxruntime-node'), await checkNative('sharp')];
  const findings = [checkRuntime(), ...natives, checkCores(), checkMemory(), await checkCache()];
  for (const finding of findings) print(context, finding);
  const missing = natives.filter((finding) => !finding.isOk).map((finding) => finding.what);
  const selfTest = missing.length === 0 ? await checkSelfTest(context) : skippedSelfTest(missing);
  print(context, selfTest);
  return [...findings, selfTest].every((finding) => finding.isOk) ? EXIT.ok : EXIT.failed;
}

function print({ stdout }: CommandContext, { isOk, what, found, advice }: Finding): void {
  stdout.write(`${isOk ? 'ok ' : 'NO '} ${what.padEnd(18)} ${found}\n`);
  if (advice !== undefined) stdout.write(`    ${' '.repeat(18)} → ${advice}\n`);
}

function checkRuntime(): Finding {
  const { node, bun, deno } = process.versions as Record<string, string | undefined>;
  const where = `on ${process.platform} ${process.arch}`;
  if (bun !== undefined) {
    const found = `${bun} ${where}, as Node ${node}`;
    return {
      isOk: false,
      what: 'Bun',
      found,
      advice: "run it with Node: in Bun only the hosts 'thread' and 'inline' work",
    };
  }
  if (deno !== undefined) return { isOk: true, what: 'Deno', found: `${deno} ${where}, as Node ${node}` };
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const isOk = major > MIN_NODE[0] || (major === MIN_NODE[0] && minor >= MIN_NODE[1]);
  const finding = { isOk, what: 'Node', found: `${node} ${where}` };
  return isOk ? finding : { ...finding, advice: `install Node ${MIN_NODE.join('.')} or later` };
}

/** Resolves an installed package as this one's imports do. It is not loaded: the self-test does that in a child. */
async function checkNative(name: string): Promise<Finding> {
  let file: string;
  try {
    file = createRequire(packageFile('index.js')).resolve(name);
  } catch {
    return { isOk: false, what: name, found: 'not installed', advice: INSTALL };
  }
  // `exports` of a package may hide its package.json.
  for (let folder = path.dirname(file); folder !== path.dirname(folder); folder = path.dirname(folder)) {
    const text = await readFile(path.join(folder, 'package.json'), 'utf8').catch(() => '{}');
    const { name: found, version } = JSON.parse(text) as { name?: string; version?: string };
    if (found === name) return { isOk: true, what: name, found: String(version) };
  }
  return { isOk: true, what: name, found: 'of unknown version' };
}

function checkCores(): Finding {
  const cores = os.availableParallelism();
  const left = availableCores();
  return {
    isOk: true,
    what: 'cores',
    found: `${cores}${left < cores ? `, limited to ${left} by the control group` : ''}`,
  };
}

function checkMemory(): Finding {
  const total = os.totalmem();
  const available = availableMemory().bytes;
  const limit = available < total ? `, limited to ${formatMemory(available)} by the control group` : '';
  const finding = { isOk: available >= LEAST_MEMORY, what: 'memory', found: `${formatMemory(total)}${limit}` };
  if (!finding.isOk)
    return { ...finding, advice: 'a worker takes 100 to 200 MB beside 60 MB of this process: raise it' };
  return available >= MEMORY_OF_TWO ? finding : { ...finding, advice: 'room for one worker: use --workers 1' };
}

function formatMemory(bytes: number): string {
  return bytes < GIGABYTE ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / GIGABYTE).toFixed(1)} GB`;
}

async function checkCache(): Promise<Finding> {
  const what = 'model cache';
  const folder = await cacheFolder().catch(() => undefined);
  if (folder === undefined) {
    const advice = 'set HF_HOME to a folder that can be written; the built-in model needs none';
    return { isOk: false, what, found: 'none, since there is no home folder', advice };
  }
  try {
    const existing = await nearestExisting(folder);
    // Permissions are not enough: the file system may be read-only.
    await rmdir(await mkdtemp(path.join(existing, '.millrace-doctor-')));
    return { isOk: true, what, found: existing === folder ? folder : `${folder} (made on the first download)` };
  } catch {
    const advice = 'make it writable, or set HF_HOME to a folder that is; the built-in model needs none';
    return { isOk: false, what, found: `${folder} can't be written`, advice };
  }
}

async function nearestExisting(folder: string): Promise<string> {
  try {
    await stat(folder);
    return folder;
  } catch (error) {
    if (errorCode(error) !== 'ENOENT' || folder === path.dirname(folder)) throw error;
    return await nearestExisting(path.dirname(folder));
  }
}

// 16 × 16 pixels of a colour gradient.
const PICTURE =
  'iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAACXBIWXMAAAPoAAAD6AG1e1JrAAABlklEQVQozxXRURVEIQhFUSMYgQhGMAIRiGCEE8EIRiACEYhABCLMG7/ZrMt1jMEcyGAN9kAHNjgDBnfwBj6IQQ5q0IMxJnMikzXZE53Y5EyY3Mmb+CQmOalJzw8IUxBhCVtQwYQjIFzhCS6EkEIJLR9YzIUs1mIvdGGLs2BxF2/hi1jkoha9PrCZG9mszd7oxjZnw+Zu3sY3sclNbXp/QJmKKEvZiiqmHAXlKk9xJZRUSmn9gDENMZaxDTXMOAbGNZ7hRhhplNH2gcM8yGEd9kEPdjgHDvfwDn6IQx7q0OcD/wK/Sr4jv9hfkG/1N/x/Fx44BCQU9Pc94zIvclmXfdGLXc79j9/Lu/glLnmpS98PPOZDHuuxH/qwx3n/5ffxHv6IRz7q0e8DznTEWc521DHn+D/KdZ7jTjjplNP+gWAGEqxgBxpYcOIf/AYv8CCCDCro+EAyE0lWshNNLDn5P/MmL/Ekkkwq6fxAMQspVrELLaw49S/lFq/wIoosquj6QDMbaVazG22sOf2v8Dav8SaabKrp5geIAnAQ3qbGcgAAAABJRU5ErkJggg==';

async function checkSelfTest({ createEmbedder }: CommandContext): Promise<Finding> {
  const what = 'self-test';
  try {
    const start = performance.now();
    const embedder = await createEmbedder({ model: undefined, workers: 1, op: 'path', allowPrivateUrls: false });
    try {
      const { length } = await embedder.embedBytes(Buffer.from(PICTURE, 'base64'));
      const took = formatDuration(performance.now() - start);
      await embedder.close();
      return { isOk: true, what, found: `a picture became ${length} numbers, ${took} with the start` };
    } catch (error) {
      await embedder.destroy(new Error('the self-test has failed'));
      throw error;
    }
  } catch (error) {
    const found = `${errorCode(error)}: ${describeFailure(error)}`;
    return { isOk: false, what, found, advice: selfTestAdvice(error) };
  }
}

function skippedSelfTest(missing: readonly string[]): Finding {
  return { isOk: false, what: 'self-test', found: `not run without ${missing.join(' and ')}`, advice: INSTALL };
}

function selfTestAdvice(error: unknown): string {
  if (errorMessage(error).includes('install it with')) return INSTALL;
  // The error of a package that is installed and can't be loaded names the remedy.
  return /MISSING/.test(errorCode(error))
    ? 'see above'
    : 'run it again with NODE_DEBUG=millrace for what the worker did';
}
