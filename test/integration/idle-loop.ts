import { spawn } from 'node:child_process';

/** A process that does nothing but measure how long its event loop is kept waiting. */
export function startIdleLoop(): { stop(): Promise<number> } {
  const code = `const delay = require('node:perf_hooks').monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    process.stdin.resume().on('end', () => console.log(delay.percentile(99) / 1e6));`;
  const child = spawn(process.execPath, ['--eval', code], { stdio: ['pipe', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  return {
    stop: () =>
      new Promise((resolve) => {
        child.once('close', () => resolve(Number(text)));
        child.stdin.end();
      }),
  };
}
