/**
 * Every receiver sees every value: for events and logs with several consumers. Slow receivers lose the oldest values, are told how many, and never
 * hold up a sender. Use `mpsc` where each value is for one consumer, `watch` where only the newest matters.
 */
export { LaggedError } from '../errors.js';
export { Receiver } from './receiver.js';
export { type ChannelOptions, channel, Sender, sender, WeakSender } from './sender.js';
