/**
 * One value, many watchers: each receiver sees the newest value and is told of changes, never of every step in between. For configuration, states
 * and progress; use `broadcast` where every value matters.
 */
export { channel, sender } from './sender.js';
export { ModifyingError } from '../errors.js';
export { Receiver } from './receiver.js';
export { Sender, type Slot } from './sender.js';
