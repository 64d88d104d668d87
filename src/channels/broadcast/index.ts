/**
 * Every receiver sees every value: for events and logs with several consumers. Slow receivers lose the oldest values, are told how many, and hold
 * nobody up. Use `mpsc` where each value is for one consumer, `watch` where only the newest matters.
 */
export { type ChannelOptions, channel, sender } from './sender.js';
export { LaggedError } from '../errors.js';
export { Receiver, type TryRecv } from './receiver.js';
export { Sender, WeakSender } from './sender.js';
