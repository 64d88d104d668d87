/**
 * Channels of many producers and one consumer, after `tokio::sync::mpsc`: `channel` is bounded, and a send waits for room;
 * `unboundedChannel` holds any number of values.
 */
export { channel, type Sender } from './bounded.js';
export type { ChannelOptions } from './chan.js';
export type { OwnedPermit, Permit, PermitIterator } from './permit.js';
export type { Receiver } from './receiver.js';
export type { WeakSender } from './sender-handle.js';
export { type UnboundedSender, unboundedChannel, type WeakUnboundedSender } from './unbounded.js';
export type { Received } from './waits.js';
