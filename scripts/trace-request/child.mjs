// Loaded into the worker by `--import`: on SIGUSR2, writes which files it ran code in since the last one.
import { renameSync, writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';

const session = new Session();
session.connect();
session.post('Profiler.enable');
session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false });
writeFileSync(`${process.env.MILLRACE_TRACE_OUT}.pid`, String(process.pid));
let count = 0;
process.on('SIGUSR2', () => {
  session.post('Profiler.takePreciseCoverage', (error, answer) => {
    const target = `${process.env.MILLRACE_TRACE_OUT}.${++count}`;
    writeFileSync(`${target}.part`, JSON.stringify(error ?? answer.result));
    renameSync(`${target}.part`, target);
  });
});
