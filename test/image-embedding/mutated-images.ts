/**
 * Damaged images by the thousand, the same for the same seed: bit flips, truncations, overwritten and repeated ranges, insertions, numbers at
 * their extremes, and the head of one format on the body of another.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { seeded } from '../seeded.js';

export interface MutatedImage {
  readonly name: string;
  readonly bytes: Buffer;
}

type Random = (below: number) => number;

function createRandom(seed: number): Random {
  const random = seeded(seed);
  return (below) => Math.floor(random() * below);
}

/** Sound images, several of each format that is decoded. */
export async function soundImages(): Promise<readonly MutatedImage[]> {
  const photo = await readFile(fileURLToPath(new URL('../../examples/photos/cat-1.jpg', import.meta.url)));
  const small = () => sharp(photo).resize(90, 60);
  const frames = await sharp(photo).resize(40, 90, { fit: 'fill' }).raw().toBuffer();
  const animated = () => sharp(frames, { raw: { width: 40, height: 90, channels: 3, pageHeight: 30 } });
  const all: Record<string, Promise<Buffer>> = {
    jpeg: small().jpeg().toBuffer(),
    'progressive jpeg': small().jpeg({ progressive: true }).withMetadata({ orientation: 6 }).toBuffer(),
    'grey jpeg': small().greyscale().toColourspace('b-w').jpeg().toBuffer(),
    'cmyk jpeg': small().toColourspace('cmyk').jpeg().toBuffer(),
    'jpeg with profile': small().withIccProfile('p3').jpeg().toBuffer(),
    png: small().png().toBuffer(),
    'interlaced png': small().png({ progressive: true }).toBuffer(),
    'palette png': small().png({ palette: true }).toBuffer(),
    '16-bit png': small().toColourspace('rgb16').png().toBuffer(),
    'png with alpha': small().ensureAlpha(0.5).png().toBuffer(),
    webp: small().webp().toBuffer(),
    'lossless webp': small().webp({ lossless: true }).toBuffer(),
    'animated webp': animated().webp().toBuffer(),
    gif: small().gif().toBuffer(),
    'animated gif': animated().gif().toBuffer(),
    tiff: small().tiff({ compression: 'none' }).toBuffer(),
    'lzw tiff': small().tiff({ compression: 'lzw', predictor: 'horizontal' }).toBuffer(),
    'jpeg tiff': small().tiff({ compression: 'jpeg' }).toBuffer(),
    'tiled tiff': small().tiff({ compression: 'deflate', tile: true, tileWidth: 32, tileHeight: 32 }).toBuffer(),
    'bilevel tiff': small().threshold().toColourspace('b-w').tiff({ compression: 'ccittfax4', bitdepth: 1 }).toBuffer(),
    avif: small().avif({ effort: 0 }).toBuffer(),
    'avif with alpha': small().ensureAlpha(0.5).avif({ effort: 0 }).toBuffer(),
  };
  return await Promise.all(Object.entries(all).map(async ([name, bytes]) => ({ name, bytes: await bytes })));
}

const EXTREMES = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0xffffffff];

const MUTATIONS: Record<string, (bytes: Buffer, random: Random, other: Buffer) => Buffer> = {
  'bit flips': (bytes, random) => {
    for (let count = 1 + random(30); count > 0; count--) {
      const at = random(bytes.length);
      bytes[at] = (bytes[at] as number) ^ (1 << random(8));
    }
    return bytes;
  },
  'bit flips in the header': (bytes, random) => {
    for (let count = 1 + random(6); count > 0; count--) {
      const at = random(Math.min(bytes.length, 200));
      bytes[at] = (bytes[at] as number) ^ (1 << random(8));
    }
    return bytes;
  },
  truncation: (bytes, random) => bytes.subarray(0, random(bytes.length)),
  'spliced header': (bytes, random, other) => {
    const cut = 1 + random(Math.min(300, bytes.length, other.length) - 1);
    return Buffer.concat([other.subarray(0, cut), bytes.subarray(cut)]);
  },
  'spliced body': (bytes, random, other) =>
    Buffer.concat([bytes.subarray(0, random(bytes.length)), other.subarray(random(other.length))]),
  'overwritten range': (bytes, random) => {
    const from = random(bytes.length);
    return bytes.fill(random(256), from, Math.min(bytes.length, from + random(200)));
  },
  'repeated range': (bytes, random) => {
    const from = random(bytes.length);
    const to = from + random(500);
    return Buffer.concat([bytes.subarray(0, to), bytes.subarray(from)]);
  },
  'removed range': (bytes, random) => {
    const from = random(bytes.length);
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + 1 + random(100))]);
  },
  'extreme number': (bytes, random) => {
    const value = EXTREMES[random(EXTREMES.length)] as number;
    const size = 1 << random(3);
    if (bytes.length < 8) return bytes;
    const at = random(Math.min(bytes.length, 500) - size);
    const fitting = value % 2 ** (size * 8);
    if (random(2) === 0) bytes.writeUIntBE(fitting, at, size);
    else bytes.writeUIntLE(fitting, at, size);
    return bytes;
  },
};

/** A number of damaged images, in turn of every format and every kind of damage. */
export async function mutatedImages(count: number, seed: number): Promise<MutatedImage[]> {
  const sound = await soundImages();
  const kinds = Object.entries(MUTATIONS);
  return Array.from({ length: count }, (_, index) => {
    const random = createRandom(seed + index * 7919);
    const image = sound[index % sound.length] as MutatedImage;
    const [kind, mutate] = kinds[Math.floor(index / sound.length) % kinds.length] as (typeof kinds)[number];
    const other = sound[random(sound.length)] as MutatedImage;
    const bytes = mutate(Buffer.from(image.bytes), random, other.bytes);
    return { name: `${image.name}, ${kind}, seed ${seed + index * 7919}`, bytes: Buffer.from(bytes) };
  });
}
