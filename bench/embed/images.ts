/** Images to embed: those of a folder, or some that are made, which compress as photographs do. */
import { mkdir, readdir, rename, stat } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';

const MADE = fileURLToPath(new URL('../../.cache/bench-images', import.meta.url));
const SIZES: readonly (readonly [number, number])[] = [
  [640, 480],
  [500, 375],
  [800, 600],
  [480, 640],
  [1024, 683],
];

/** The paths of the images in a folder, `count` at most. */
export async function findImages(folder: string, count: number): Promise<string[]> {
  const names = (await readdir(folder, { recursive: true })).filter((name) => /\.(jpe?g|png|webp)$/i.test(name));
  return names
    .sort()
    .slice(0, count)
    .map((name) => path.resolve(folder, name));
}

/** Makes images unless they are there, the same on every machine. Answers their paths. */
export async function makeImages(count: number, folder: string = MADE): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const paths = Array.from({ length: count }, (_, index) => path.join(folder, `${String(index).padStart(4, '0')}.jpg`));
  for (const [index, file] of paths.entries()) {
    const isThere = await stat(file).then(
      () => true,
      () => false,
    );
    if (isThere) continue;
    const [width, height] = SIZES[index % SIZES.length] as readonly [number, number];
    const temporary = `${file}.${process.pid}`;
    await sharp(paint(width, height, index + 1), { raw: { width, height, channels: 3 } })
      .jpeg({ quality: 88 })
      .toFile(temporary);
    await rename(temporary, file);
  }
  return paths;
}

/** Gradients and discs with noise over them. */
function paint(width: number, height: number, seed: number): Uint8Array {
  let state = seed;
  const random = (): number => {
    state = (Math.imul(state, 48_271) >>> 0) % 2_147_483_647;
    return state / 2_147_483_647;
  };
  for (let skip = 0; skip < 8; skip++) random();
  const slopes = Array.from({ length: 6 }, () => random() - 0.5);
  const discs = Array.from({ length: 12 }, () => ({
    x: random() * width,
    y: random() * height,
    radius: (0.04 + 0.16 * random()) * width,
    shades: [random() * 160 - 80, random() * 160 - 80, random() * 160 - 80],
  }));
  const pixels = new Uint8Array(3 * width * height);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const grain = (random() - 0.5) * 26;
      for (let channel = 0; channel < 3; channel++, at++) {
        const across = (slopes[2 * channel] as number) * (x / width - 0.5);
        const down = (slopes[2 * channel + 1] as number) * (y / height - 0.5);
        let value = 128 + 320 * (across + down) + grain;
        for (const disc of discs) {
          if (Math.hypot(x - disc.x, y - disc.y) < disc.radius) value += disc.shades[channel] as number;
        }
        pixels[at] = Math.max(0, Math.min(255, value));
      }
    }
  }
  return pixels;
}
