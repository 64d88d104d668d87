/**
 * What the sister layers use of workers beside `index.ts`: the record of a call, and a worker that takes it.
 *
 * A pool makes a {@link Request} where a call enters, checks everything there, and hands it to `worker.start(request)`, which checks nothing again. The
 * request watches its own deadline and signal under every owner; its {@link RequestListener} is told the outcome once (`onAnswered`), then that its worker
 * has let go of it (`onReleased`). Where the worker ends first, `isRetried` is asked, and `onLost` gives the request back, unanswered, to be started on
 * another worker. A worker's state is `failed` before that.
 *
 * @module
 */
export { type BatchItem, runBisected } from './batcher.js';
export { blameCaller } from './errors.js';
export { decodeError, type EncodedError, encodeError } from './codec/error-codec.js';
export { EventFeed, keepTrace } from './events.js';
export { inheritedExecArgv } from './executor/exec-argv.js';
export { inputBytes, requireFits } from './operation.js';
export { packageFile, packageUrl } from './package-file.js';
export {
  type Outcome,
  type Phase,
  Request,
  type RequestFields,
  type RequestListener,
  type RequestOwner,
} from './request.js';
export { requireSpawnOptions, type SpawnSettings } from './spawn.js';
export { spawnCheckedWorker, type Worker } from './spawn.js';
export { canTransition, isLive, StateMachine } from './state.js';
export { LazyStream, StreamingRequest } from './streaming-request.js';
export { CallerTrace, inNeutralContext, type RequestTrace, type RunInContext } from './trace.js';
