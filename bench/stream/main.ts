/**
 * A million paths through `embedImages`, with workers that answer at once: how fast, and whether the caller's memory stays flat.
 * `npm run bench -- stream [--short] [--json]`
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { benchFile, bundle } from '../harness/prepare.js';
import type { Report } from './measure.js';

/** Runs the benchmark, in a process of its own. */
export async function run(args: string[]): Promise<void> {
  const [url] = await bundle([benchFile('stream/measure.ts')]);
  const count = args.includes('--short') ? 200_000 : 1_000_000;
  const script = `import(${JSON.stringify(url)}).then((m) => m.measure(${count})).then((r) => process.stdout.write(JSON.stringify(r)))`;
  const child = spawn(process.execPath, ['--expose-gc', '--input-type=module', '--eval', script], {
    cwd: fileURLToPath(new URL('.', url as string)),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  if (code !== 0) throw new Error(`The stream benchmark ended with ${code}`);
  const report = JSON.parse(text) as Report;
  process.stdout.write(
    args.includes('--json')
      ? `${JSON.stringify(report, null, 2)}\n`
      : `\n| paths | paths/s | CPU µs/path | heap grown MB | resident grown MB |\n| --- | --- | --- | --- | --- |\n| ${report.paths} | ${report.pathsPerSecond.toFixed(0)} | ${report.cpuMicrosPerPath.toFixed(1)} | ${report.heapGrownMb.toFixed(1)} | ${report.residentGrownMb.toFixed(1)} |\n`,
  );
}
