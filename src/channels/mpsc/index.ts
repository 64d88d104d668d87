/**
 * Channels of many producers and one consumer, after `tokio::sync::mpsc`.
 */
export { channel, type Sender } from './bounded.js';
export type { ChannelOptions } from './options.js';
export type { OwnedPermit } from './owned-permit.js';
export type { Permit, PermitIterator } from './permit.js';
export type { Receiver, TryReceived } from './receiver.js';
export type { Received } from './recv-waiter.js';
export { type UnboundedSender, unboundedChannel, type WeakUnboundedSender } from './unbounded.js';
export type { WeakSender } from './weak-sender.js';
