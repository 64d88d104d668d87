import { type CancellationToken, mpsc } from '../channels/index.js';
import {
  type Clock,
  fillOptions,
  option,
  type OptionTable,
  requireClock,
  requireOneOf,
  requireString,
  systemClock,
} from '../core/index.js';
import { Account } from './account/account.js';
import type { Ping, WorkerHealth } from './account/ledger.js';
import type { RequestOf } from './answer-request.js';
import { ChannelHandle } from './channel-handle.js';
import type { WorkerHandle } from './handle.js';
import { type OperationName, type Operations, requireOperations } from './operation.js';
import type { WorkerState } from './state.js';

/** Options of {@link createWorkerChannels}. */
export interface WorkerChannelsOptions {
  /** The worker's name, in events and reports. `worker-1`, `worker-2`, … by default. */
  readonly id?: string | undefined;
  /** The time source. The system's by default. */
  readonly clock?: Clock | undefined;
}

/** The loop's end of a worker: what there is to select over, and what there is to tell. */
export interface WorkerChannels<Ops extends Operations> {
  readonly id: string;
  readonly clock: Clock;
  /** What the worker can do. */
  readonly declared: Ops;
  /** One receiver of requests per operation. */
  readonly operations: { readonly [K in OperationName<Ops>]: mpsc.Receiver<RequestOf<Ops[K], K>> };
  /** Pings, to be answered with {@link WorkerChannels.report}. */
  readonly health: mpsc.Receiver<Ping>;
  /** Cancelled when the loop should take no more, let what runs finish, release the model and end. */
  readonly shutdown: CancellationToken;
  /** Cancelled, together with `shutdown`, when every request was answered without the loop, which should end at once. */
  readonly kill: CancellationToken;
  /**
   * Publishes a step of the loop: `loading`, `ready` or `idle`. `processing` comes by itself while requests are
   * taken and not answered, and so does the way back.
   *
   * @returns False when the worker is being closed or is over, so that the step has lost its sense.
   * @throws WorkerStateError When the table of states does not allow it.
   * @throws TypeError, RangeError When it is none of these steps.
   */
  enter(state: 'loading' | 'ready' | 'idle', cause?: unknown): boolean;
  /** How the worker is: the answer to a ping. */
  report(): WorkerHealth;
  /**
   * Ends the worker, as the last step of a loop. Unanswered requests get an error. The worker is `dead`, or `failed` if a cause is given and
   * it was not asked to end. A second call does nothing.
   */
  finish(cause?: unknown): void;
}

const CHANNELS_OPTIONS = {
  id: option(requireString),
  clock: option(requireClock, systemClock),
} satisfies OptionTable<WorkerChannelsOptions>;

let unnamed = 0;
const HEALTH_CAPACITY = 16;
const STEP = 'Cannot change worker state';
/** The steps that are a loop's to take. The others follow from what it does with requests, and from what is asked of the handle. */
const STEPS = ['loading', 'ready', 'idle'] as const;
const accounts = new WeakMap<object, Account>();

/**
 * Makes the two ends of a worker: a handle for callers, and the channels that a loop selects over.
 *
 * @param operations What the worker can do, see {@link operation}.
 * @param options See {@link WorkerChannelsOptions}.
 * @returns The handle and the channels.
 * @throws TypeError When the operations or the options are not what they should be.
 * @example
 * ```ts
 * const { handle, channels } = createWorkerChannels({ double: operation<number, number>() });
 * runWorker({ double: async (n) => n * 2 }, channels);
 * await handle.call('double', 21); // => 42
 * await handle.close();
 * handle.state.current; // => 'dead'
 * ```
 */
export function createWorkerChannels<const Ops extends Operations>(
  operations: Ops,
  options?: WorkerChannelsOptions,
): { handle: WorkerHandle<Ops>; channels: WorkerChannels<Ops> } {
  const action = 'Cannot create worker channels';
  const { id = `worker-${++unnamed}`, clock } = fillOptions(action, options, CHANNELS_OPTIONS);
  const declared = requireOperations(action, operations);
  const account = new Account(id, declared, clock);
  const [pings, health] = mpsc.channel<Ping>(HEALTH_CAPACITY);
  const receivers = Object.fromEntries([...account.queues].map(([name, queue]) => [name, queue.receiver]));
  const channels: WorkerChannels<Ops> = {
    id,
    clock: account.clock,
    declared,
    operations: Object.freeze(receivers) as unknown as WorkerChannels<Ops>['operations'],
    health,
    shutdown: account.shutdown,
    kill: account.kill,
    enter: (state: WorkerState, cause?: unknown) => account.enter(requireOneOf(STEP, 'state', state, STEPS), cause),
    report: () => account.health(),
    finish: (cause?: unknown) => {
      account.finish(cause);
      pings.close();
    },
  };
  accounts.set(channels, account);
  return { handle: new ChannelHandle(account, declared, pings), channels: Object.freeze(channels) };
}

/**
 * The private account behind a worker's channels, for the stock loop and the hosts' bridges.
 *
 * @internal
 */
export function accountOf(channels: WorkerChannels<never>): Account {
  const account = accounts.get(channels);
  if (account === undefined)
    throw new TypeError(
      'Cannot run worker: channels must come from createWorkerChannels() of this copy of the package',
    );
  return account;
}
