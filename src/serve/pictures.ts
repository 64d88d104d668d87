/** What a string of a request stands for: a picture by a data URL, by base64 or by a URL, or a text. */
import type { EmbedItem } from './embed-items.js';
import { decodeBase64 } from './http/base64.js';
import type { JsonParser } from './http/json-parser.js';
import type { ParsedJson } from './http/json-value.js';
import { Refusal } from './http/refusal.js';

/** A string that begins like this is a picture, whatever else a request says. */
const DATA_IMAGE = /^data:image\//i;
const DATA = /^data:([^,]*),/i;
const HTTP = /^https?:\/\//i;
/** How base64 of a JPEG, PNG, GIF or WebP begins. */
const BARE_PICTURE = /^(?:\/9j\/|iVBORw0KGgo|R0lGOD|UklGR)[\w+/=\r\n-]{60,}$/;

/** Reads the strings of one request's body. */
export class PictureReader {
  readonly #parser: JsonParser;
  readonly #parsed: ParsedJson;
  readonly #allowUrls: boolean;

  constructor(parser: JsonParser, parsed: ParsedJson, allowUrls: boolean) {
    this.#parser = parser;
    this.#parsed = parsed;
    this.#allowUrls = allowUrls;
  }

  /** A string that may be either: a picture when it is a data URL of an image. */
  textOrPicture(value: string, param: string): EmbedItem {
    const taken = this.#parser.pictureOf(value, this.#parsed);
    if (taken === undefined ? BARE_PICTURE.test(value) : !taken.isDataUrl) {
      const message = `${param}: base64 without a prefix is taken for a text here, send the picture as a data URL (data:image/jpeg;base64,...)`;
      throw new Refusal('invalid', message, { param, code: 'data_url_expected' });
    }
    if (taken !== undefined) return { kind: 'bytes', bytes: taken.bytes, param };
    return DATA_IMAGE.test(value) ? this.picture(value, param) : { kind: 'text', text: value, param };
  }

  /** A string that is a picture: a data URL, a URL, or base64. */
  picture(value: string, param: string): EmbedItem {
    const taken = this.#parser.pictureOf(value, this.#parsed);
    if (taken !== undefined) return { kind: 'bytes', bytes: taken.bytes, param };
    if (HTTP.test(value)) return this.#url(value, param);
    const [head, type = ''] = DATA.exec(value.slice(0, 1_000)) ?? [];
    if (head === undefined) {
      return base64Item(value, param, this.#allowUrls ? 'a data URL, base64 or a URL' : 'a data URL or base64');
    }
    if (!/;base64$/i.test(type)) {
      const message = `${param}: a data URL of a picture must be in base64`;
      throw new Refusal('invalid', message, { param, code: 'base64_invalid' });
    }
    return base64Item(value.slice(head.length), param, 'base64 behind the comma of a data URL');
  }

  #url(value: string, param: string): EmbedItem {
    if (!this.#allowUrls) {
      const message = `${param}: URLs are not fetched here, send the picture as a data URL`;
      throw new Refusal('invalid', message, { param, code: 'urls_not_allowed' });
    }
    if (!URL.canParse(value)) throw new Refusal('invalid', `${param}: no valid URL`, { param, code: 'url_invalid' });
    return { kind: 'url', url: new URL(value), param };
  }
}

function base64Item(text: string, param: string, expected: string): EmbedItem {
  const bytes = decodeBase64(text);
  if (bytes !== undefined) return { kind: 'bytes', bytes, param };
  throw new Refusal('invalid', `${param}: expected a picture as ${expected}`, { param, code: 'base64_invalid' });
}
