/**
 * One instance of every class that hot paths are made of, kept for ever.
 *
 * V8 forgets the shape of a class when a full collection finds no instance of it, and throws away all code that was optimised for the shape. The
 * records of a wait live for microseconds, so that would happen at every collection that comes in a quiet moment: measured, it costs a
 * channel two thirds of its speed until everything has been compiled again.
 */
const instances: object[] = [];

/** Keeps an instance, and so the shape of its class. */
export function pin(...pinned: object[]): void {
  instances.push(...pinned);
}
