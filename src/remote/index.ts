/**
 * Calls to workers on other machines: the same model handle as a local pool's, over a network that publishes and subscribes.
 *
 * The network is a {@link Bus}: `millrace/nats` has one for NATS.
 *
 * @module millrace/remote
 */
export {
  type ErrorCode,
  type ErrorOf,
  type Fault,
  isMillraceError,
  MillraceError,
  type MillraceErrorOptions,
  type MillraceErrors,
} from '../core/index.js';
export type {
  Bus,
  BusMessage,
  BusStatus,
  BusSubscription,
  PublishOptions,
  SubscribeOptions,
} from './bus.js';
export {
  type ConnectOptions,
  createRemotePool,
  type HostReport,
  type RemoteCounts,
  type RemotePool,
  type RemotePoolOptions,
  type RemotePoolStats,
} from './caller/remote-pool.js';
export {
  AnswerLostError,
  HostLostError,
  NoHostError,
  NotServedError,
  PayloadTooLargeError,
  RemoteProtocolError,
} from './errors.js';
export {
  type ServedPool,
  type ServedPoolCloseOptions,
  type ServedPoolStats,
  type ServePoolOptions,
  servePool,
} from './host/served-pool.js';
export { SimulatedBus, type SimulatedBusOptions, type SimulatedConnection } from './simulated-bus.js';
