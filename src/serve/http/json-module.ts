/** The model module of the thread that parses large JSON bodies: see `json-parser.ts`. */
import type { ModelOf } from '../../worker/index.js';
import type { JsonOperations, JsonThreadOptions } from './json-parser.js';
import { parseBody } from './json-value.js';

export default function createJsonThread({ word }: JsonThreadOptions): ModelOf<JsonOperations> {
  return { parse: (body) => parseBody(body, word) };
}
