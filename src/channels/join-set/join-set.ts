import { JoinGroup } from './join-group.js';

/**
 * A set of tasks that are joined in the order in which they finish. A failure is a value of {@link JoinSet.joinNext} and never an unhandled
 * rejection; disposing the set aborts what is left in it.
 *
 * Every task that is a function is given a signal. Aborting the task fires it, and the task is over when it has settled. A function that declares
 * no parameter is taken not to notice, and a promise cannot: these are over at once, and what they still answer is dropped.
 *
 * As an arm of `select` it wins with the next result, and counts as ended while it is empty.
 *
 * @example
 * ```ts
 * const tasks = new JoinSet<number>();
 * for (const n of [3, 1, 2]) {
 *   tasks.spawn(async () => {
 *     for (let hop = 0; hop < n * 10; hop++) await null;
 *     return n;
 *   });
 * }
 * const order: number[] = [];
 * for await (const result of tasks) if (result.status === 'fulfilled') order.push(result.value);
 * order; // => [1, 2, 3]
 * ```
 */
export class JoinSet<T> extends JoinGroup<T> {
  constructor() {
    super(false);
  }
}
