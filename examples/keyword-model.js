/** The model that the workers of keywords.ts run: the words that are frequent in a text and rare in the texts before it. */
import { BadInputError } from 'millrace/worker';

export default function createModel({ count }) {
  const seenIn = new Map();
  let texts = 0;
  return {
    keywords(text) {
      const words = text.toLowerCase().match(/\p{L}{3,}/gu);
      if (words === null)
        throw new BadInputError(`Cannot find keywords: expected words, received '${text.slice(0, 40)}'`);
      texts++;
      const frequency = new Map();
      for (const word of words) frequency.set(word, (frequency.get(word) ?? 0) + 1);
      for (const word of frequency.keys()) seenIn.set(word, (seenIn.get(word) ?? 0) + 1);
      const score = (word) => frequency.get(word) * Math.log(1 + texts / seenIn.get(word));
      return [...frequency.keys()].sort((a, b) => score(b) - score(a) || (a < b ? -1 : 1)).slice(0, count);
    },
    // What `pool.workers()` reports of this worker.
    health: () => ({ texts }),
  };
}
