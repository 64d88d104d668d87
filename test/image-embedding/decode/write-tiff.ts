/** Writes TIFFs of one strip or one tile, with whatever their tags are to say: encoders refuse to write most of what is tried. */

export interface TiffPicture {
  readonly width: number;
  readonly height: number;
  /** The samples as the tags describe them; for separate planes one after another. */
  readonly data: Uint8Array;
  readonly bits: readonly number[];
  readonly photometric: number;
  readonly compression?: number;
  readonly planes?: 1 | 2;
  readonly sampleFormat?: number;
  readonly extraSamples?: readonly number[];
  readonly isTiled?: boolean;
  readonly isBigEndian?: boolean;
  /** Further tags by number, of 16 bits each. */
  readonly others?: Readonly<Record<number, readonly number[]>>;
}

const SHORT = 3;
const LONG = 4;

export function writeTiff(picture: TiffPicture): Buffer {
  const { width, height, data, bits, planes = 1, isTiled = false, isBigEndian = false } = picture;
  const pieces = planes === 2 ? bits.length : 1;
  const pieceBytes = data.length / pieces;
  const offsets = Array.from({ length: pieces }, (_, index) => 8 + index * pieceBytes);
  const lengths = offsets.map(() => pieceBytes);
  const tags: [number, number, readonly number[]][] = [
    [256, SHORT, [width]],
    [257, SHORT, [height]],
    [258, SHORT, bits],
    [259, SHORT, [picture.compression ?? 1]],
    [262, SHORT, [picture.photometric]],
    [277, SHORT, [bits.length]],
    [284, SHORT, [planes]],
    ...(isTiled
      ? ([
          [322, SHORT, [width]],
          [323, SHORT, [height]],
          [324, LONG, offsets],
          [325, LONG, lengths],
        ] as [number, number, readonly number[]][])
      : ([
          [273, LONG, offsets],
          [278, SHORT, [height]],
          [279, LONG, lengths],
        ] as [number, number, readonly number[]][])),
    ...(picture.extraSamples === undefined
      ? []
      : ([[338, SHORT, picture.extraSamples]] as [number, number, number[]][])),
    ...(picture.sampleFormat === undefined
      ? []
      : ([[339, SHORT, bits.map(() => picture.sampleFormat)]] as [number, number, number[]][])),
    ...Object.entries(picture.others ?? {}).map(
      ([tag, values]) => [Number(tag), SHORT, values] as [number, number, readonly number[]],
    ),
  ];
  tags.sort(([one], [other]) => one - other);

  const directory = 8 + data.length + (data.length & 1);
  const file = Buffer.alloc(directory + 2 + tags.length * 12 + 4 + 8192);
  const put = (value: number, at: number, size: 2 | 4): void => {
    if (isBigEndian) file.writeUIntBE(value, at, size);
    else file.writeUIntLE(value, at, size);
  };
  file.write(isBigEndian ? 'MM' : 'II', 0, 'latin1');
  put(42, 2, 2);
  put(directory, 4, 4);
  file.set(data, 8);
  put(tags.length, directory, 2);
  let free = directory + 2 + tags.length * 12 + 4;
  for (const [index, [tag, type, values]] of tags.entries()) {
    const at = directory + 2 + index * 12;
    const size = type === SHORT ? 2 : 4;
    put(tag, at, 2);
    put(type, at + 2, 2);
    put(values.length, at + 4, 4);
    const fits = values.length * size <= 4;
    if (!fits) put(free, at + 8, 4);
    for (const [each, value] of values.entries()) put(value, (fits ? at + 8 : free) + each * size, size);
    if (!fits) free += values.length * size;
  }
  return file.subarray(0, free);
}
