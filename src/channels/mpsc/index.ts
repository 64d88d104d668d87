/**
 * Channels of many producers and one consumer, after `tokio::sync::mpsc`.
 */
export { channel, type Sender } from './bounded.js';
export type { ChannelOptions } from './chan.js';
export type { OwnedPermit } from './permit.js';
export type { Permit, PermitIterator } from './permit.js';
export type { Receiver, TryReceived } from './receiver.js';
export type { Received } from './waits.js';
export { type UnboundedSender, unboundedChannel, type WeakUnboundedSender } from './unbounded.js';
export type { WeakSender } from './sender-handle.js';
