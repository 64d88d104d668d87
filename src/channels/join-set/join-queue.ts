import { JoinGroup } from './join-group.js';

/**
 * Tasks that run side by side and are joined in the order in which they were spawned. One that was aborted keeps its place, and is joined as
 * cancelled. Otherwise it is as a {@link JoinSet}.
 *
 * As an arm of `select` it wins with the result of the oldest task, once that is over, and counts as ended while it is empty.
 *
 * @example
 * ```ts
 * const tasks = new JoinQueue<number>();
 * for (const n of [3, 1, 2]) {
 *   tasks.spawn(async () => {
 *     for (let hop = 0; hop < n * 10; hop++) await null;
 *     return n;
 *   });
 * }
 * await tasks.joinAll(); // => [3, 1, 2]
 * ```
 */
export class JoinQueue<T> extends JoinGroup<T> {
  constructor() {
    super(true);
  }
}
