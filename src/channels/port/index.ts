/**
 * Channels across a `MessagePort`: one end here, the other in another thread, Web Worker, frame or process. It uses no Node API.
 *
 * ```ts
 * import { bridge } from 'millrace/channels/port';
 * ```
 *
 * Capacity means what it means in one place: at most so many values are sent and not received. Closing, failures and undelivered values cross; a
 * side that dies ends the channel for the other.
 *
 * @module millrace/channels/port
 */
export {
  type ErrorCode,
  type ErrorOf,
  type Fault,
  isMillraceError,
  MillraceError,
  type MillraceErrorOptions,
  type MillraceErrors,
} from '../../core/index.js';
export { PortClosedError, PortProtocolError, SendError } from '../errors.js';
export { type Bridge, type BridgeReceiverOptions, type BridgeSenderOptions, bridge } from './bridge.js';
export type { NodePort, PortLike, ProcessPort, WebPort } from './transport.js';
