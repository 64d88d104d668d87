/** A model whose runs end when the test says so. It answers for an image the number of its run and how many images that had. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { modelOf, sleep } from './session-model.mjs';

export function createModel({ folder, ...options }, context) {
  let number = 0;
  return modelOf(options, context, 2, (count) => {
    number += 1;
    if (number > lastFree(folder)) {
      writeFileSync(path.join(folder, 'holding.new'), String(number));
      renameSync(path.join(folder, 'holding.new'), path.join(folder, 'holding'));
      while (number > lastFree(folder)) sleep(1);
    }
    return [number, count];
  });
}

/** The last run that is let go; all of them where nothing is said. */
function lastFree(folder) {
  try {
    return Number(readFileSync(path.join(folder, 'free'), 'utf8'));
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
