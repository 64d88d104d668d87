/**
 * One instance of every class of the hot paths, kept for ever.
 *
 * V8 drops the shape of a class, and all code optimised for it, when a full collection finds no instance. The records of a wait live for
 * microseconds, so that a collection in a quiet moment would cost a channel two thirds of its speed until the code is compiled again (measured).
 */
const instances: object[] = [];

/** Keeps instances, and so the shapes of their classes. */
export function pin(...pinned: object[]): void {
  instances.push(...pinned);
}
