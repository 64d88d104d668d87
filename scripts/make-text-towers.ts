/**
 * Text towers and tokenizers for tests: what the real ones are in everything but size and weights. A tower looks each token up in a table and
 * gives the mean of the rows, or one row, as its family does.
 */
import { OnnxBuilder } from './onnx/onnx-builder.js';

/** How a tower is made. */
export interface TextTowerConfig {
  readonly vocabulary: number;
  readonly dimension: number;
  readonly seed: number;
  /** The input of token ids. */
  readonly input?: { readonly name: string; readonly type: 'int64' | 'int32' } | undefined;
  readonly hasMask?: boolean;
  /** Lengths that the graph is fixed to; free where they are missing. */
  readonly batch?: number;
  readonly length?: number;
  readonly output: string;
  /** CLIP's embedding is at the highest id, which is its end token's; SigLIP's at the last position. */
  readonly pooling: 'highest id' | 'last';
}

/** The bytes of a tower. */
export function buildTextTower(config: TextTowerConfig): Uint8Array {
  const { vocabulary, dimension, seed, batch, length, output, pooling } = config;
  const { name, type } = config.input ?? { name: 'input_ids', type: 'int64' };
  const builder = new OnnxBuilder();
  const shape = [batch ?? 'batch', length ?? 'length'];
  const given = builder.input(name, type, shape);
  const ids = type === 'int64' ? given : builder.node('Cast', [given], { to: 7 });
  const table = builder.weight('table', [vocabulary, dimension], numbers(seed, vocabulary * dimension));
  let rows = builder.node('Gather', [table, ids], { axis: 0 });
  if (config.hasMask) {
    const mask = builder.node('Cast', [builder.input('attention_mask', type, shape)], { to: 1 });
    const wide = builder.node('Unsqueeze', [mask, builder.integers('mask_axis', [2])]);
    rows = builder.node('Mul', [rows, wide]);
  }
  // All tokens count, and the position decides which one counts most: a text of other padding has another vector.
  const mean = builder.node('ReduceMean', [rows], { axes: [1], keepdims: 0 });
  let place: string;
  if (pooling === 'highest id') {
    const highest = builder.node('ArgMax', [ids], { axis: 1, keepdims: 1 });
    const index = builder.node('Unsqueeze', [highest, builder.integers('index_axis', [2])]);
    const wide = builder.node('Expand', [index, builder.integers('index_shape', [1, 1, dimension])]);
    place = builder.node('Squeeze', [
      builder.node('GatherElements', [rows, wide], { axis: 1 }),
      builder.integers('place_axis', [1]),
    ]);
  } else {
    const last = builder.node('Slice', [
      rows,
      builder.integers('from', [-1]),
      builder.integers('to', [2 ** 31]),
      builder.integers('axis', [1]),
    ]);
    place = builder.node('Squeeze', [last, builder.integers('place_axis', [1])]);
  }
  builder.node('Add', [mean, place], {}, output);
  builder.output(output, 'float32', [shape[0] as string, dimension]);
  return builder.build({ name: 'text-tower', doc: 'A text tower of random weights, for tests' });
}

function numbers(seed: number, count: number): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** GPT-2's characters for the 256 bytes, in the order of OpenAI's vocabulary. */
function byteCharacters(): string[] {
  const plain = [range(33, 126), range(161, 172), range(174, 255)].flat();
  const others = range(0, 255).filter((byte) => !plain.includes(byte));
  return [...plain.map((byte) => String.fromCharCode(byte)), ...others.map((_, at) => String.fromCharCode(256 + at))];
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, at) => first + at);
}

/** `tokenizer.json` of CLIP's kind, of merges such as `['c a', 'ca t</w>']`, or of OpenAI's own. */
export function clipTokenizer(merges: readonly string[]): object {
  const characters = byteCharacters();
  const joined = merges.map((merge) => merge.replace(' ', ''));
  const tokens = [...characters, ...characters.map((each) => `${each}</w>`), ...joined];
  const [start, end] = [tokens.length, tokens.length + 1];
  const special = (id: number, content: string): object => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  const words = String.raw`'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`;
  return {
    version: '1.0',
    added_tokens: [special(start, '<|startoftext|>'), special(end, '<|endoftext|>')],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: String.raw`\s+` }, content: ' ' },
        { type: 'Lowercase' },
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: words }, behavior: 'Removed', invert: true },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true },
      ],
    },
    post_processor: {
      type: 'RobertaProcessing',
      sep: ['<|endoftext|>', end],
      cls: ['<|startoftext|>', start],
      trim_offsets: false,
      add_prefix_space: false,
    },
    decoder: { type: 'ByteLevel' },
    model: {
      type: 'BPE',
      unk_token: '<|endoftext|>',
      continuing_subword_prefix: '',
      end_of_word_suffix: '</w>',
      fuse_unk: false,
      vocab: Object.fromEntries([...tokens, '<|startoftext|>', '<|endoftext|>'].map((token, id) => [token, id])),
      merges,
    },
  };
}

/** `tokenizer.json` of SigLIP's kind: pieces of sentencepiece, an end token that also fills the row. */
export function siglipTokenizer(pieces: readonly string[]): object {
  const vocab: [string, number][] = [
    ['<unk>', 0],
    ['</s>', 0],
    ...pieces.map((piece, at): [string, number] => [piece, -at - 1]),
  ];
  return {
    version: '1.0',
    added_tokens: [
      { id: 0, content: '<unk>', special: true, normalized: false, lstrip: false, rstrip: false, single_word: false },
      { id: 1, content: '</s>', special: true, normalized: false, lstrip: false, rstrip: false, single_word: false },
    ],
    normalizer: null,
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', add_prefix_space: true, prepend_scheme: 'always' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '</s>', type_id: 0 } }],
      pair: [],
      special_tokens: { '</s>': { id: '</s>', ids: [1], tokens: ['</s>'] } },
    },
    decoder: { type: 'Metaspace', replacement: '▁', add_prefix_space: true },
    model: { type: 'Unigram', unk_id: 0, vocab },
  };
}

/**
 * `tokenizer.json` of Gemma's kind, as SigLIP 2 has it: merges such as `['▁ c', '▁c a']` over single characters, bytes for all others, an end token
 * of its own, another one that fills the row.
 */
export function gemmaTokenizer(characters: string, merges: readonly string[]): object {
  const specials = ['<pad>', '<eos>', '<bos>', '<unk>'];
  const bytes = range(0, 255).map((byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
  const tokens = [...specials, ...bytes, ...characters, ...merges.map((merge) => merge.replace(' ', ''))];
  return {
    version: '1.0',
    added_tokens: specials.map((content, id) => ({
      id,
      content,
      special: true,
      normalized: false,
      lstrip: false,
      rstrip: false,
      single_word: false,
    })),
    normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
    pre_tokenizer: { type: 'Split', pattern: { String: ' ' }, behavior: 'MergedWithPrevious', invert: false },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '<eos>', type_id: 0 } }],
      pair: [],
      special_tokens: { '<eos>': { id: '<eos>', ids: [1], tokens: ['<eos>'] } },
    },
    decoder: null,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: '<unk>',
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
}
