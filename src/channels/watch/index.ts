/**
 * One value, many watchers: each receiver sees the newest value and is told of changes, not of every step in between. For configuration, states and
 * progress; use `broadcast` where every value matters.
 */
export { ModifyingError } from '../errors.js';
export { Receiver } from './receiver.js';
export { channel, Sender, type Slot, sender } from './sender.js';
