import { monotonicNow, SimulatedClock } from '../../../src/core/index.js';
import type { Host, HostExit } from '../../../src/worker/executor/host.js';
import type { Progress } from '../../../src/worker/host/progress-board.js';
import { createWorkerChannels, type Operations, type WorkerHandle } from '../../../src/worker/index.js';
import { Link, type Parcel } from '../../../src/worker/codec/link.js';
import { Kind } from '../../../src/worker/codec/link.js';
import type { Message } from '../../../src/worker/codec/link.js';
import { accountOf, type WorkerChannels } from '../../../src/worker/channels.js';
import { LinkExecutor } from '../../../src/worker/executor/link.js';
import { runLoop } from '../../../src/worker/loop.js';

/** A host without a thread or a process: what it was sent is seen, and it says what it is told to. */
export interface SimulatedHost {
  /** All it was sent, in order. */
  readonly sent: Message[];
  /** What its watchdog shows. */
  progress: Progress;
  say(message: Message): void;
  /** Says something that can't be read. */
  garble(): void;
  exit(exit?: Partial<HostExit>): void;
}

/** A worker on a simulated clock whose host is simulated. */
export async function spawnSimulated<Ops extends Operations>(
  operations: Ops,
  options: { concurrency?: number; stallTimeoutMs?: number } = {},
): Promise<{ handle: WorkerHandle<Ops>; host: SimulatedHost; clock: SimulatedClock }> {
  const clock = new SimulatedClock();
  const { handle, channels } = createWorkerChannels(operations, { clock });
  const untyped = channels as unknown as WorkerChannels<never>;
  const { simulated: host, host: real } = makeHost();
  const kinds = Object.fromEntries(Object.entries(operations).map(([name, { kind }]) => [name, kind]));
  const executor = new LinkExecutor(accountOf(untyped), {
    startHost: () => real,
    init: { module: 'simulated', operations: kinds } as never,
    transferInputs: false,
    concurrency: options.concurrency ?? 1,
    stallTimeoutMs: options.stallTimeoutMs ?? 30_000,
    blockedTimeoutMs: () => Number.POSITIVE_INFINITY,
  });
  runLoop(untyped, executor, {
    idleTimeoutMs: Number.POSITIVE_INFINITY,
    loadTimeoutMs: 60_000,
    source: 'simulated',
  }).catch(() => {});
  await turn();
  host.say([Kind.Ready]);
  await handle.state.waitFor('ready');
  return { handle, host, clock };
}

/** Lets everything that is under way in this turn of the event loop run its course. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function makeHost(): { simulated: SimulatedHost; host: Host } {
  let hear: (parcel: Parcel) => void = () => {};
  let mishear: () => void = () => {};
  let end: (exit: HostExit) => void = () => {};
  const exited = new Promise<HostExit>((resolve) => {
    end = resolve;
  });
  const simulated: SimulatedHost = {
    sent: [],
    progress: { begun: 0, ended: 0, latest: 0 },
    say: (message) => hear(message),
    garble: () => mishear(),
    exit: (exit) => end({ exitCode: null, signal: 'SIGKILL', stderr: [], ...exit }),
  };
  const link = new Link({
    canTransfer: false,
    send(parcel) {
      const copy = structuredClone(parcel);
      if (typeof copy[0] === 'number') simulated.sent.push(copy);
      else simulated.sent.push(...(copy as Message[]));
    },
    subscribe(handler, onUnreadable) {
      hear = handler;
      mishear = onUnreadable;
    },
  });
  const host: Host = {
    kind: 'process',
    pid: 4_242,
    link,
    exited,
    startedAt: monotonicNow(),
    progress: () => ({ value: simulated.progress, heardAt: monotonicNow() }),
    kill: () => simulated.exit(),
  };
  return { simulated, host };
}
