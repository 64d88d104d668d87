/**
 * Millrace over a NATS server: connections that survive outages, and bulk jobs that survive everything else.
 *
 * `connectNats()` connects; what it answers with is the `bus` of `createRemotePool()` and `servePool()`. `openBulk({ nats, service })` answers with the bulk runs of a service: `submit` stores jobs, `work` runs them on as many
 * machines as there are, `results` reads what became of them, in order.
 *
 * Needs the package `@nats-io/transport-node`, which is loaded on the first call.
 *
 * @module millrace/nats
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
export { MissingPackageError } from '../pool/index.js';
export type { BulkIdentity } from './bulk/active-runs.js';
export { Bulk, type BulkOptions, openBulk } from './bulk/bulk.js';
export type { BulkJob, BulkOutcome, BulkWorked, BulkWorkOptions, RunBulkJob } from './bulk/bulk-worker.js';
export type { BulkResult } from './bulk/results.js';
export type { RunState } from './bulk/run-record.js';
export type { BulkStatus } from './bulk/status.js';
export type { BulkInput, BulkSubmitOptions, BulkSubmitted } from './bulk/submit.js';
export { type ConnectNatsOptions, connectNats, type NatsTlsOptions } from './connect.js';
export {
  BulkFormatError,
  BulkInputChangedError,
  BulkModelMismatchError,
  BulkPoisonError,
  BulkRunNotFoundError,
  BulkStateError,
  NatsConnectionError,
  NatsServerError,
} from './errors.js';
export { Nats } from './nats.js';
export type {
  NatsConnectionLike,
  NatsHeadersLike,
  NatsMessageLike,
  NatsServerInfoLike,
  NatsSubscriptionLike,
} from './nats-connection.js';
