/** Names that a model may have been meant by. */

/** The models that come with the package, by the names that they can be asked for. */
export const builtInNames: readonly string[] = ['default', 'mobilenet-v1-0.25'];

/**
 * The name that was meant, where one is misspelt, cut short or without its owner: at most a third of it differs. Undefined when none is near.
 */
export function nearestName(name: string, names: Iterable<string>): string | undefined {
  const given = name.toLowerCase();
  let nearest: string | undefined;
  let least = Math.max(1, Math.floor(name.length / 3)) + 1;
  for (const each of names) {
    const known = each.toLowerCase();
    const distance = Math.min(distanceTo(given, known), distanceTo(given, known.slice(known.indexOf('/') + 1)) + 1);
    if (distance < least) {
      least = distance;
      nearest = each;
    }
  }
  return nearest;
}

const LEAST_START = 4;

/** How far a name is from a known one, or from a start of it. */
function distanceTo(given: string, known: string): number {
  const row = editDistances(given, known);
  const whole = row[known.length] as number;
  return given.length < LEAST_START ? whole : Math.min(whole, Math.min(...row) + 1);
}

/**
 * How many characters have to be put in, taken out, replaced or swapped with the next to make of `a` each start of `b`, by its length (optimal string
 * alignment).
 */
function editDistances(a: string, b: string): number[] {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const now = [row];
    for (let column = 1; column <= b.length; column++) {
      const isSame = a[row - 1] === b[column - 1];
      const isSwapped = a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      now[column] = Math.min(
        (last[column] as number) + 1,
        (now[column - 1] as number) + 1,
        (last[column - 1] as number) + (isSame ? 0 : 1),
        isSwapped ? (before[column - 2] as number) + 1 : Number.POSITIVE_INFINITY,
      );
    }
    before = last;
    last = now;
  }
  return last;
}
