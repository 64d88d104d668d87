import { CancellationToken } from '../../channels/index.js';
import type { WorkerCore } from '../worker-core.js';
import type { HostClient } from './host-client.js';
import { StallDetector, type StallLimits } from './stall-detector.js';

/** Who looks after a host, from its start to its end. */
export interface HostWatch {
  /** Cancelled when it has exited, or hangs. */
  readonly down: CancellationToken;
  readonly stall: StallDetector;
  /** How it hangs, when it does. */
  stalled: string | undefined;
}

/**
 * Looks after a host until it is down, by itself or because it hangs.
 *
 * @param lastAnswerAt When the host last answered, in ms on the worker's clock.
 */
export function watchHost(
  client: HostClient,
  { clock, hub }: WorkerCore,
  limits: StallLimits,
  lastAnswerAt: () => number,
): HostWatch {
  const down = new CancellationToken();
  void client.exited.then(() => down.cancel());
  const onStall = (reason: string, runningMs: number): void => {
    watch.stalled = reason;
    hub.emit({ type: 'stall', runningMs });
    down.cancel();
  };
  const watch: HostWatch = {
    down,
    stalled: undefined,
    stall: new StallDetector(clock, limits, client, lastAnswerAt, onStall),
  };
  watch.stall.watch();
  return watch;
}
