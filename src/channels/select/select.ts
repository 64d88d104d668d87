import { rejected } from '../internal/budget.js';
import { signalOf, type WaitOptions } from '../internal/wait.js';
import { type Order, ShuffledOrder } from './order.js';
import { type ArmsOf, type CheckedArms, type SelectEvent, type SelectOptions, planOf } from './plan.js';
import { PromiseTurn } from './turn.js';

const ACTION = 'Cannot select';
const OPTIONS: readonly ('biased' | 'seed' | 'random' | 'signal')[] = ['biased', 'seed', 'random', 'signal'];

/**
 * Waits for the first of several arms, and answers with its name and value: tokio's `select!` as a typed value.
 *
 * Arms are receivers, {@link withEnd}, {@link reserving}, tokens and `AbortSignal`s, timers, selectors and any promise or thenable, by name; a
 * falsy arm is disabled. It behaves as `Promise.race` does for the winner. The losers are withdrawn: they have consumed nothing, and nothing is
 * left behind on them. When several are ready one of them wins, by lot unless `biased`. An arm whose channel has ended is disabled; when no
 * arm is left that can win, the event is `{ arm: null }`. A promise arm that rejects rejects the select.
 *
 * A wrong argument is thrown by the call itself, here as by every other wait; a promise rejects with what came of the wait.
 *
 * **Cancel safety:** a wait is *cancel safe* when abandoning it (its signal fires, it loses a `select`, its time is up) has no effect but that it
 * is over: nothing was taken, nothing is lost, and calling it again continues as if it had never been. `select` is cancel safe in all its arms.
 *
 * @param arms The arms by name. Names must not look like integers.
 * @param options `biased`, `seed` or `random`, and a signal that abandons the wait.
 * @returns The event: switch over `event.arm`.
 * @throws TypeError When every arm is falsy, a name looks like an integer, or something is not an arm.
 * @example
 * ```ts
 * const [tx, jobs] = mpsc.channel<string>(8);
 * const stop = new CancellationToken();
 * await tx.send('work');
 * await select({ job: jobs, stop }); // => { arm: 'job', value: 'work' }
 * stop.cancel('enough');
 * await select({ job: jobs, stop }); // => { arm: 'stop', value: 'enough' }
 * ```
 */
export function select<const A extends ArmsOf<A>>(
  arms: A & CheckedArms<A>,
  options?: SelectOptions & WaitOptions,
): Promise<SelectEvent<A>> {
  const signal = signalOf(ACTION, options, OPTIONS);
  const plan = planOf(ACTION, arms, options, shuffled);
  if (signal?.aborted) return rejected(signal.reason);
  return new PromiseTurn(plan, null).run(signal) as Promise<SelectEvent<A>>;
}

function shuffled(count: number): Order {
  return new ShuffledOrder(count, Math.random);
}
