/** What an index knows of a picture beside its vector: one line of `items.jsonl`. */

/** A picture of an index. */
export interface IndexItem {
  /** Its absolute path, or its URL. Unique among the pictures of an index. */
  readonly path: string;
  /** Bytes of its file. */
  readonly size?: number | undefined;
  /** When its file was last changed, in ms since 1970. */
  readonly mtime?: number | undefined;
  /** Tells files of one content from all others: 32 hex digits. */
  readonly hash?: string | undefined;
  /** Pixels, upright. */
  readonly width?: number | undefined;
  readonly height?: number | undefined;
  /** When it was taken, in the camera's own time: `2024-07-31T18:05:09`. */
  readonly taken?: string | undefined;
  /** Where it was taken, in degrees. */
  readonly lat?: number | undefined;
  readonly lon?: number | undefined;
  readonly camera?: string | undefined;
  /** Why it has no vector. Its row holds zeros, and no search finds it. */
  readonly error?: ItemError | undefined;
}

/** Why a picture could not be embedded. */
export interface ItemError {
  readonly code: string;
  readonly message: string;
}

const KEYS = [
  'path',
  'size',
  'mtime',
  'hash',
  'width',
  'height',
  'taken',
  'lat',
  'lon',
  'camera',
  'error',
] as const satisfies readonly (keyof IndexItem)[];

/** The item without what an index does not keep. */
export function pickItem(given: IndexItem): IndexItem {
  return Object.fromEntries(
    KEYS.flatMap((key) => (given[key] === undefined ? [] : [[key, given[key]]])),
  ) as unknown as IndexItem;
}

/** The line of an item, with its newline. Python's `splitlines()` and Node's `readline` end lines at further characters than LF: these are escaped. */
export function formatItem(item: IndexItem): string {
  const text = JSON.stringify(item).replace(
    /[\u0085\u2028\u2029]/g,
    (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return `${text}\n`;
}

/** The item of a line; undefined when it holds none. */
export function parseItem(line: string): IndexItem | undefined {
  try {
    const value = JSON.parse(line) as Partial<IndexItem> | null;
    return typeof value?.path === 'string' ? (value as IndexItem) : undefined;
  } catch {
    return undefined;
  }
}
