/**
 * What the command takes of the server beside `index.ts`: the format of files with keys.
 *
 * @module
 */
export { parseKeys } from './http/keys.js';
