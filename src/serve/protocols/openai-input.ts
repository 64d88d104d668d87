/** What `input` and `messages` of the OpenAI family hold: the shapes of OpenAI, Infinity, Jina, vLLM and mlx-vlm are one with optional fields. */
import * as v from 'valibot';
import type { EmbedItem } from '../embed-items.js';
import { Refusal } from '../http/refusal.js';
import type { PictureReader } from '../pictures.js';

/** One input as an object. */
interface InputObject {
  readonly type?: string | undefined;
  readonly text?: string | undefined;
  /** Jina: a data URL, a URL, or base64. */
  readonly image?: string | undefined;
  readonly url?: string | undefined;
  /** Jina: base64. */
  readonly bytes?: string | undefined;
  /** mlx-vlm, vLLM and OpenAI's chat: a data URL, or a URL. */
  readonly image_url?: string | { readonly url: string } | undefined;
}

/** `input` of a request. Lists of token ids are told apart, to be refused in words. */
export type InputValue = string | InputObject | (string | number | number[] | InputObject)[];

/** One message of a conversation. */
export interface Message {
  readonly role?: string | undefined;
  readonly content: string | InputObject[];
}

const InputObject: v.GenericSchema<InputObject> = v.looseObject({
  type: v.optional(v.string()),
  text: v.optional(v.string()),
  image: v.optional(v.string()),
  url: v.optional(v.string()),
  bytes: v.optional(v.string()),
  image_url: v.optional(v.union([v.string(), v.looseObject({ url: v.string() })])),
});

/** The schema of {@link InputValue}. */
export const Input: v.GenericSchema<InputValue> = v.union([
  v.string(),
  v.array(v.union([v.string(), v.number(), v.array(v.number()), InputObject])),
  InputObject,
]);

/** The schema of `messages` (vLLM): one conversation is one embedding. */
export const Messages: v.GenericSchema<Message[]> = v.array(
  v.looseObject({ role: v.optional(v.string()), content: v.union([v.string(), v.array(InputObject)]) }),
);

/** How strings are read. */
export interface InputRules {
  readonly pictures: PictureReader;
  /** Infinity: `image` makes every string a picture. */
  readonly modality: string | undefined;
}

/** The items of `input`. */
export function readInput(input: InputValue, rules: InputRules): EmbedItem[] {
  if (!Array.isArray(input)) return [readItem(input, 'input', rules)];
  return input.map((each, index) => {
    const param = `input[${index}]`;
    if (typeof each === 'string' || (typeof each === 'object' && !Array.isArray(each)))
      return readItem(each, param, rules);
    throw new Refusal('invalid', `${param}: token ids are not taken, send the text itself`, {
      param,
      code: 'token_ids_unsupported',
    });
  });
}

/** The one item of a conversation. */
export function readMessages(messages: readonly Message[], rules: InputRules): EmbedItem {
  const parts = messages.flatMap(({ content }, index) =>
    typeof content === 'string'
      ? [readItem(content, `messages[${index}].content`, rules)]
      : content.map((part, place) => readItem(part, `messages[${index}].content[${place}]`, rules)),
  );
  // An empty text is what clients put beside a picture.
  const [item, second] = parts.filter((part) => part.kind !== 'text' || part.text.trim() !== '');
  if (item === undefined) throw new Refusal('empty', 'messages: expected a picture or a text', { param: 'messages' });
  if (second !== undefined) throw fused(second.param);
  return item;
}

function readItem(value: string | InputObject, param: string, { pictures, modality }: InputRules): EmbedItem {
  if (typeof value === 'string') {
    return modality === 'image' ? pictures.picture(value, param) : pictures.textOrPicture(value, param);
  }
  const { text, image, url, bytes, image_url } = value;
  const inner = typeof image_url === 'object' ? image_url.url : image_url;
  const [picture, second] = [image, bytes, inner, url].filter((each) => each !== undefined);
  if (second !== undefined || (picture !== undefined && text !== undefined && text !== '')) throw fused(param);
  if (picture !== undefined) return pictures.picture(picture, param);
  if (text !== undefined) return pictures.textOrPicture(text, param);
  throw new Refusal('invalid', `${param}: expected a string, or an object with a text or an image`, { param });
}

function fused(param: string): Refusal {
  return new Refusal(
    'unsupported',
    `${param}: one embedding is of one picture or of one text, not of several together`,
    {
      param,
      code: 'fusion_unsupported',
    },
  );
}
