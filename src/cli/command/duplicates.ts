import type { DuplicateGroup, IndexItem } from '../../search/index.js';
import { EXIT, type ExitCode, errorMessage, UsageError } from '../errors.js';
import { writeGallery } from '../output/gallery.js';
import { printable } from '../terminal/text.js';
import type { CommandContext } from './context.js';
import { indexError, indexToSearch, openIndexFolder, shownPath } from './index-files.js';

/** The options of `millrace duplicates`. */
export interface DuplicatesCommandOptions {
  readonly index?: string;
  readonly minScore?: number;
  readonly across?: boolean;
  readonly keep: 'largest' | 'oldest';
  readonly folder?: string;
  readonly paths?: boolean;
  readonly null?: boolean;
  readonly json?: boolean;
  readonly html?: string;
}

/** `millrace duplicates`: groups of pictures that look the same, the best copy of each first. Nothing is deleted. */
export async function duplicatesCommand(context: CommandContext, options: DuplicatesCommandOptions): Promise<ExitCode> {
  const { stdout, stderr } = context;
  const index = await openIndexFolder(await indexToSearch(options.index));
  try {
    const { minScore, across, keep, folder } = options;
    const groups = await index.duplicates({ minScore, across, keep, folder }).catch((error: unknown) => {
      if (error instanceof TypeError || error instanceof RangeError) {
        throw new UsageError(errorMessage(error), { cause: error });
      }
      throw indexError(error, index.folder);
    });
    const copies = groups.reduce((sum, group) => sum + group.copies.length, 0);
    if (options.html !== undefined) {
      await writeGallery(context, options.html, {
        title: `${groups.length} groups of duplicates`,
        groups: groups.map(({ best, copies: others }) => ({
          pictures: [
            { path: best.path, item: best, note: 'best copy', detail: factsOf(best) },
            ...others.map(({ item, score }) => ({
              path: item.path,
              item,
              note: score.toFixed(3),
              detail: factsOf(item),
            })),
          ],
        })),
      });
    } else if (options.json) stdout.write(`${JSON.stringify(groups.map(plain), undefined, 2)}\n`);
    else if (options.paths || options.null) {
      const end = options.null ? '\0' : '\n';
      stdout.write(groups.flatMap((group) => group.copies.map(({ item }) => `${item.path}${end}`)).join(''));
    } else stdout.write(groups.map(render).join('\n'));
    stderr.write(`${groups.length} groups, ${copies} copies beside the best of each; nothing was deleted\n`);
    return EXIT.ok;
  } finally {
    await index.close();
  }
}

function plain({ best, copies }: DuplicateGroup): object {
  return { best, copies: copies.map(({ item, score }) => ({ score, ...item })) };
}

function render({ best, copies }: DuplicateGroup): string {
  const lines = [
    `best   ${describe(best)}`,
    ...copies.map(({ item, score }) => `${score.toFixed(3).padStart(5)}  ${describe(item)}`),
  ];
  return `${lines.join('\n')}\n`;
}

function describe(item: IndexItem): string {
  const facts = factsOf(item);
  return `${printable(shownPath(item.path))}${facts === '' ? '' : `  (${facts})`}`;
}

/** What tells copies of one picture apart. */
function factsOf({ width, height, size }: IndexItem): string {
  return [
    ...(width === undefined || height === undefined ? [] : [`${width} x ${height}`]),
    ...(size === undefined ? [] : [`${Math.ceil(size / 1000)} kB`]),
  ].join(', ');
}
