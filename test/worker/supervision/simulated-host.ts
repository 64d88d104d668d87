import { monotonicNow, SimulatedClock } from '../../../src/core/index.js';
import type { Host, HostExit } from '../../../src/worker/hosts/host.js';
import type { Progress } from '../../../src/worker/hosts/progress-board.js';
import { createWorkerChannels, type Operations, type WorkerHandle } from '../../../src/worker/index.js';
import { createLink, type Parcel } from '../../../src/worker/link/link.js';
import { Kind } from '../../../src/worker/link/messages.js';
import type { Message } from '../../../src/worker/link/outbox.js';
import { defaultRestartPolicy } from '../../../src/worker/supervision/back-off.js';
import { SupervisedWorker } from '../../../src/worker/supervision/supervised-worker.js';

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

/** A supervised worker on a simulated clock whose hosts are simulated. */
export async function superviseSimulated<Ops extends Operations>(
  operations: Ops,
  options: { concurrency?: number; stallTimeoutMs?: number; beforeStart?: (started: number) => void } = {},
): Promise<{ handle: WorkerHandle<Ops>; hosts: SimulatedHost[]; host: SimulatedHost; clock: SimulatedClock }> {
  const clock = new SimulatedClock();
  const { handle, channels } = createWorkerChannels(operations, { clock });
  const hosts: SimulatedHost[] = [];
  const worker = new SupervisedWorker(channels as never, {
    startHost: () => {
      options.beforeStart?.(hosts.length);
      return startHost(hosts);
    },
    init: { module: 'simulated' } as never,
    transferInputs: false,
    concurrency: options.concurrency ?? 1,
    idleTimeoutMs: Number.POSITIVE_INFINITY,
    loadTimeoutMs: 60_000,
    stallTimeoutMs: options.stallTimeoutMs ?? 30_000,
    blockedTimeoutMs: () => Number.POSITIVE_INFINITY,
    retries: 1,
    restart: defaultRestartPolicy,
  });
  void worker.run();
  await turn();
  const host = hosts[0] as SimulatedHost;
  host.say([Kind.Ready]);
  await handle.state.waitFor('ready');
  return { handle, hosts, host, clock };
}

/** Lets everything that is under way in this turn of the event loop run its course. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function startHost(hosts: SimulatedHost[]): Host {
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
  hosts.push(simulated);
  const link = createLink({
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
  return {
    kind: 'process',
    pid: 4_242,
    link,
    exited,
    startedAt: monotonicNow(),
    progress: () => ({ value: simulated.progress, heardAt: monotonicNow() }),
    kill: () => simulated.exit(),
  };
}
