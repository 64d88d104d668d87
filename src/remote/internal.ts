/** What sister layers take of the remote layer beside its public face: its subjects, and how values are written. */
export { requireToken, Subjects, uniqueToken } from './subjects.js';
export { loadValueCodec, type ValueCodec } from './wire/value-codec.js';
