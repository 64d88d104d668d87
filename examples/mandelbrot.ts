/**
 * A CPU-bound function in a pool of threads: a picture of the Mandelbrot set, computed by rows on all cores while this thread stays free. Any other
 * JavaScript or WebAssembly function works in the same way: `mandelbrot-model.js` wraps it.
 *
 *     npm run example examples/mandelbrot.ts
 *
 * In a project that has millrace: `npx tsx mandelbrot.ts`, with `mandelbrot-model.js` beside it.
 */
import { createPool } from 'millrace/pool';
import { operation } from 'millrace/worker';

const WIDTH = 78;
const HEIGHT = 32;
const SHADES = ' .:-=+*#%@';

/** A row of the picture: its place in the complex plane, and its number of points. */
interface Row {
  readonly y: number;
  readonly fromX: number;
  readonly toX: number;
  readonly points: number;
}

const pool = createPool();
const mandelbrot = pool.register('mandelbrot', {
  operations: { row: operation<Row, Uint16Array>({ capacity: HEIGHT, idempotent: true }) },
  module: new URL('./mandelbrot-model.js', import.meta.url),
  options: { iterations: 2_000 },
  host: 'thread',
  timeoutMs: 30_000,
});

// Nothing below blocks: this timer keeps ticking while all cores compute.
let ticks = 0;
const ticking = setInterval(() => ticks++, 1);
try {
  await pool.warm('mandelbrot', 2);
  const rows = Array.from({ length: HEIGHT }, (_, index) =>
    mandelbrot.call('row', { y: 1.2 - (2.4 * index) / (HEIGHT - 1), fromX: -2.2, toX: 0.8, points: WIDTH }),
  );
  for (const row of await Promise.all(rows)) {
    const shade = (steps: number) => SHADES[Math.min(SHADES.length - 1, Math.floor(Math.log2(steps + 1)))];
    console.log(Array.from(row, shade).join('').trimEnd());
  }
  const { succeeded, workers } = pool.stats().models.mandelbrot ?? { succeeded: 0, workers: 0 };
  console.log(`${succeeded} rows by ${workers} threads; this thread ${ticks > 1 ? 'stayed free' : 'was blocked'}`);
} catch (error) {
  console.error(`Cannot draw: ${(error as Error).message}`);
  process.exitCode = 1;
} finally {
  clearInterval(ticking);
  await pool.close();
}
