/** Why an optional package could not be loaded: it is not installed, or does not fit this machine. */
import { messageOf } from '../core/index.js';

const NATIVES: readonly string[] = ['onnxruntime-node', 'sharp'];
const INSTALL = 'ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node sharp';

const HINTS: readonly (readonly [RegExp, string])[] = [
  [
    /ld-linux|ld-musl|libc\.musl|musl/i,
    'its binary needs glibc, which Alpine and other systems with musl lack: use an image with glibc, such as node:22-slim',
  ],
  [
    /GLIBC_|GLIBCXX_|CXXABI_/,
    'its binary needs a newer glibc or libstdc++ than this system has: use a newer system or image',
  ],
  [
    /invalid ELF header|wrong ELF class|mach-o|incompatible architecture|not a valid Win32 application|cannot open shared object file|_binding\.node/i,
    `its binary is not for this machine (${process.platform}-${process.arch}): install it here, without files of another`,
  ],
];

/**
 * What became of loading a package, for a message.
 *
 * @param dependency The package.
 * @param cause What its import, or its native part, threw.
 */
export function describeLoadFailure(dependency: string, cause: unknown): string {
  if (isNotFound(dependency, cause)) {
    const command = NATIVES.includes(dependency) ? INSTALL : `npm install ${dependency}`;
    return `the optional package ${dependency} could not be loaded, install it with ${command}`;
  }
  const text = messageOf(cause);
  const hint = HINTS.find(([pattern]) => pattern.test(text))?.[1];
  return `the package ${dependency} is installed and could not be loaded: ${text.split('\n', 1)[0]}${hint === undefined ? '' : ` (${hint})`}`;
}

/** Whether an error is that of a package's native part, which may come long after its import. */
export function isNativeFailure(error: unknown): boolean {
  const { code } = (error ?? {}) as NodeJS.ErrnoException;
  return code === 'ERR_DLOPEN_FAILED' || code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND';
}

/** A package that lacks one of its own packages is there. */
function isNotFound(dependency: string, cause: unknown): boolean {
  if ((cause as NodeJS.ErrnoException | undefined)?.code !== 'ERR_MODULE_NOT_FOUND') return false;
  const named = /Cannot find (?:package|module) '([^']+)'/.exec(messageOf(cause))?.[1];
  return named === undefined || named === dependency || named.endsWith(`/node_modules/${dependency}`);
}
