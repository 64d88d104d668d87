/** After so many holes an array is taken for sparse. */
const MANY_HOLES = 10_000;

/** Calls back with each element that is there: an array of a hundred million holes holds nothing, and is not walked. */
export function forEachElement(array: readonly unknown[], visit: (element: unknown) => void): void {
  let holes = 0;
  for (let index = 0; index < array.length; index += 1) {
    const element = array[index];
    if (element !== undefined || index in array) visit(element);
    else holes += 1;
    if (holes > MANY_HOLES + index / 2) {
      for (const key of Object.keys(array)) if (Number(key) > index) visit(array[Number(key)]);
      return;
    }
  }
}
