/** The model that the threads of mandelbrot.ts run: a plain function inside an object with a method per operation. */

/** The number of steps that each point of a row takes to leave the circle of radius 2; `iterations` for points that stay. */
function mandelbrotRow({ y, fromX, toX, points }, iterations) {
  const row = new Uint16Array(points);
  for (let index = 0; index < points; index++) {
    const x = fromX + ((toX - fromX) * index) / (points - 1);
    let re = 0;
    let im = 0;
    let step = 0;
    while (step < iterations && re * re + im * im <= 4) {
      [re, im] = [re * re - im * im + x, 2 * re * im + y];
      step++;
    }
    row[index] = step;
  }
  return row;
}

export default function createModel({ iterations }) {
  if (!Number.isInteger(iterations) || iterations < 1 || iterations > 65_535) {
    throw new RangeError(`Cannot make model: iterations must be from 1 to 65535, received ${iterations}`);
  }
  // The result's memory is moved to the caller's thread, not copied.
  return { row: (input) => mandelbrotRow(input, iterations) };
}
