/**
 * Calls to workers on other machines: the same model handle as a local pool's, over a network that publishes and subscribes.
 *
 * The network is a {@link Bus}: `millrace/nats` has one for NATS.
 *
 * @module millrace/remote
 */
export type {
  Bus,
  BusMessage,
  BusStatus,
  BusSubscription,
  PublishOptions,
  SubscribeOptions,
} from './bus.js';
export {
  AnswerLostError,
  HostLostError,
  NoHostError,
  NotServedError,
  PayloadTooLargeError,
  RemoteProtocolError,
} from './errors.js';
