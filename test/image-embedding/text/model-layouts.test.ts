import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { testModelFiles, testModels } from '../../../scripts/make-test-models.js';
import {
  buildTextTower,
  clipTokenizer,
  gemmaTokenizer,
  siglipTokenizer,
  type TextTowerConfig,
} from '../../../scripts/make-text-towers.js';
import { buildVisionTransformer } from '../../../scripts/onnx/vision-transformer.js';
import { createImageEmbeddingPool, type ImageEmbeddingPool } from '../../../src/image-embedding/index.js';
import { readModelFolder } from '../../../src/image-embedding/model/model-folder.js';
import { startLocalHub } from '../hub/local-hub.js';

const CAT = 'examples/photos/cat-1.jpg';
const clip = clipTokenizer(['c a', 'ca t</w>', 'd o', 'do g</w>']);
const CLIP_TOWER: TextTowerConfig = {
  vocabulary: 518,
  dimension: 24,
  seed: 1,
  output: 'text_embeds',
  pooling: 'highest id',
};
const SIGLIP_TOWER: TextTowerConfig = {
  vocabulary: 8,
  dimension: 32,
  seed: 1,
  output: 'pooler_output',
  pooling: 'last',
};

type Files = ReadonlyMap<string, Uint8Array>;

let below: string;
const pools: ImageEmbeddingPool[] = [];

beforeAll(async () => {
  below = await mkdtemp(path.join(tmpdir(), 'millrace-layouts-'));
});

afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close()));
});

afterAll(async () => {
  await rm(below, { recursive: true, force: true });
});

async function write(files: Files): Promise<string> {
  const root = await mkdtemp(path.join(below, 'model-'));
  for (const [name, bytes] of files) {
    await mkdir(path.dirname(path.join(root, name)), { recursive: true });
    await writeFile(path.join(root, name), bytes);
  }
  return root;
}

function open(options: Parameters<typeof createImageEmbeddingPool>[0]): ImageEmbeddingPool {
  const pool = createImageEmbeddingPool({ workers: { max: 1 }, ...options });
  pools.push(pool);
  return pool;
}

const json = (value: object): Uint8Array => Buffer.from(JSON.stringify(value));
const modelOf = (name: string): (typeof testModels)[number] =>
  testModels.find((each) => each.name === name) as (typeof testModels)[number];

/** The very towers of the hub's layout, in Immich's, with the names that its exporter gives. */
function immichFiles(
  model: 'tiny-clip' | 'tiny-siglip',
  tower: TextTowerConfig,
  tokenizer: object,
  { preprocess, textConfig, padToken }: { preprocess: object; textConfig: object; padToken: string },
): Files {
  const named = { inputName: 'image', outputName: 'embedding' };
  const length = (textConfig as { readonly context_length: number }).context_length;
  return new Map([
    ['config.json', json({ embed_dim: tower.dimension, vision_cfg: { image_size: 32 }, text_cfg: textConfig })],
    ['visual/model.onnx', buildVisionTransformer({ ...modelOf(model).graph, ...named })],
    ['visual/preprocess_cfg.json', json(preprocess)],
    [
      'textual/model.onnx',
      buildTextTower({
        ...tower,
        input: { name: 'text', type: 'int32' },
        batch: 1,
        length,
        output: model === 'tiny-clip' ? 'embedding' : tower.output,
      }),
    ],
    ['textual/tokenizer.json', json(tokenizer)],
    ['textual/tokenizer_config.json', json({ pad_token: padToken })],
  ]);
}

const IMMICH_CLIP = immichFiles('tiny-clip', CLIP_TOWER, clip, {
  preprocess: {
    size: [32, 32],
    mode: 'RGB',
    mean: [0.48145466, 0.4578275, 0.40821073],
    std: [0.26862954, 0.26130258, 0.27577711],
    interpolation: 'bicubic',
    resize_mode: 'shortest',
    fill_color: 0,
  },
  textConfig: { context_length: 77, vocab_size: 518, width: 24 },
  padToken: '<|endoftext|>',
});

/** A model in the hub's layout with a text tower. */
function hubFiles(model: string, tower: TextTowerConfig, tokenizer: object, tokenizerConfig: object): Files {
  return new Map([
    ...testModelFiles(modelOf(model)),
    ['onnx/text_model.onnx', buildTextTower(tower)],
    ['tokenizer.json', json(tokenizer)],
    ['tokenizer_config.json', json(tokenizerConfig)],
  ]);
}

describe("a model in Immich's layout", () => {
  it('is one model of two towers, and gives what the same towers give in the hub layout', async () => {
    const immich = open({ model: await write(IMMICH_CLIP) });
    const hub = open({
      model: await write(hubFiles('tiny-clip', { ...CLIP_TOWER, length: 77 }, clip, { pad_token: '<|endoftext|>' })),
    });
    expect(await immich.embedImage(CAT)).toEqual(await hub.embedImage(CAT));
    expect(await immich.embedText('a cat, a dog')).toEqual(await hub.embedText('a cat, a dog'));
    expect(await immich.describe()).toMatchObject({ dimension: 24, input: { name: 'image' } });
  });

  it("reads SigLIP's texts as open_clip does, whether its configuration says so or not", async () => {
    const tokenizer = siglipTokenizer(['▁a', '▁photo', '▁cat', '▁dog', 's', '▁']);
    const preprocess = {
      size: 32,
      mean: [0.5, 0.5, 0.5],
      std: [0.5, 0.5, 0.5],
      interpolation: 'bicubic',
      resize_mode: 'squash',
    };
    const hub = open({
      model: await write(
        hubFiles('tiny-siglip', SIGLIP_TOWER, tokenizer, { pad_token: '</s>', tokenizer_class: 'SiglipTokenizer' }),
      ),
    });
    const text = 'A photo, CATS!';
    for (const more of [
      { tokenizer_kwargs: { clean: 'canonicalize' } },
      { hf_tokenizer_name: 'timm/ViT-B-16-SigLIP' },
    ]) {
      const files = immichFiles('tiny-siglip', SIGLIP_TOWER, tokenizer, {
        preprocess,
        textConfig: { context_length: 64, vocab_size: 8, ...more },
        padToken: '</s>',
      });
      const immich = open({ model: await write(files) });
      expect(await immich.embedText(text)).toEqual(await hub.embedText(text));
      expect(await immich.embedImage(CAT)).toEqual(await hub.embedImage(CAT));
    }
  });

  it('comes from the hub, the text tower when a text is asked for', async () => {
    const hub = await startLocalHub('immich-app/ViT-B-32__openai', IMMICH_CLIP);
    const cacheDir = await mkdtemp(path.join(below, 'hub-'));
    const options = { model: 'immich-app/ViT-B-32__openai', hub: { endpoint: hub.endpoint, cacheDir, offline: false } };
    const brought = (): string[] =>
      hub.requests.flatMap((each) => /\/resolve\/[0-9a-f]+\/(\S+)/.exec(each)?.[1] ?? []).sort();
    try {
      const pool = open(options);
      await pool.embedImage(CAT);
      expect(brought()).toEqual(['config.json', 'visual/model.onnx', 'visual/preprocess_cfg.json']);
      const cat = await pool.embedText('cat');
      expect(brought().filter((name) => name.startsWith('textual/'))).toEqual([
        'textual/model.onnx',
        'textual/tokenizer.json',
        'textual/tokenizer_config.json',
      ]);
      const offline = open({ ...options, hub: { ...options.hub, offline: true } });
      expect(await offline.embedText('cat')).toEqual(cat);
      expect((await offline.embedImage(CAT)).length).toBe(24);
    } finally {
      await hub.close();
    }
  });

  it.each([
    [{ resize_mode: 'longest' }, 'ERR_MODEL_UNSUPPORTED', /resize_mode must be shortest or squash, received "longest"/],
    [{ interpolation: 'random' }, 'ERR_MODEL_UNSUPPORTED', /interpolation must be nearest, .* received "random"/],
    [{ size: [32, 32, 3] }, 'ERR_MODEL_CONFIG', /size must be a number of pixels or two/],
    [{ mean: [0.5] }, 'ERR_MODEL_CONFIG', /mean must be three numbers, received \[0.5\]/],
    [{ std: [1, 0, 1] }, 'ERR_MODEL_CONFIG', /std must be three numbers/],
  ])('refuses a preprocessing of %o', async (wrong, code, message) => {
    const right = { size: 32, mean: [0, 0, 0], std: [1, 1, 1] };
    const folder = await write(new Map([...IMMICH_CLIP, ['visual/preprocess_cfg.json', json({ ...right, ...wrong })]]));
    await expect(readModelFolder(folder)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });
});

describe("MobileCLIP's text tower", () => {
  const files = (tower: TextTowerConfig): Files => {
    const { preprocessor } = modelOf('tiny-clip');
    const asIs = { ...preprocessor, do_normalize: false, image_mean: undefined, image_std: undefined };
    return new Map([
      ...hubFiles('tiny-clip', tower, clip, { pad_token: '<|endoftext|>' }),
      ['preprocessor_config.json', json(asIs)],
    ]);
  };

  it('gets full rows of 77, which its attention counts, also where the graph would take less', async () => {
    const free = open({ model: await write(files(CLIP_TOWER)) });
    const fixed = open({ model: await write(files({ ...CLIP_TOWER, length: 77 })) });
    expect(await free.embedText('cat')).toEqual(await fixed.embedText('cat'));
    const plain = open({ model: await write(hubFiles('tiny-clip', CLIP_TOWER, clip, {})) });
    expect(await plain.embedText('cat')).not.toEqual(await free.embedText('cat'));
    expect((await free.embedImage(CAT)).length).toBe(24);
  });
});

describe("SigLIP 2's text tower", () => {
  it('reads lower case by a vocabulary of the kind of Gemma, punctuation kept, rows filled to 64', async () => {
    const tokenizer = gemmaTokenizer('▁catdog,!', ['▁ c', '▁c a', '▁ca t', 'c a', 'ca t']);
    const tower = { ...SIGLIP_TOWER, vocabulary: 275 };
    const config = { pad_token: '<pad>', tokenizer_class: 'GemmaTokenizer' };
    const free = open({ model: await write(hubFiles('tiny-siglip', tower, tokenizer, config)) });
    const fixed = open({ model: await write(hubFiles('tiny-siglip', { ...tower, length: 64 }, tokenizer, config)) });
    const [cat, shout, comma] = await free.embedText(['cat dog', 'CAT Dog', 'cat, dog']);
    expect(shout).toEqual(cat);
    expect(comma).not.toEqual(cat);
    expect(await fixed.embedText('cat dog')).toEqual(cat);
  });
});
