/**
 * A pipeline of stages over bounded channels: files are read into lines, lines are split into words, words are counted. A slow stage slows the ones
 * before it, so any amount of text takes constant memory. A stage that fails ends all stages, and nothing keeps running.
 *
 *     npm run example examples/pipeline.ts README.md docs/channels.md
 *
 * In a project that has millrace: `npx tsx pipeline.ts <files>`.
 */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { mpsc } from 'millrace/channels';

/** Connects two channels with a function that turns one item into any number of items. */
async function stage<In, Out>(
  input: mpsc.Receiver<In>,
  output: mpsc.Sender<Out>,
  expand: (item: In) => Iterable<Out> | AsyncIterable<Out>,
): Promise<void> {
  try {
    for await (const item of input) for await (const each of expand(item)) await output.send(each);
    output.close();
  } catch (error) {
    // The next stage gets the items sent before, then this error, unless the next stage has closed.
    output.close(error);
  } finally {
    // Sends of the stage before fail from here on, so it ends in the same way.
    input.close();
  }
}

async function* linesOf(file: string): AsyncGenerator<string> {
  const stream = createReadStream(file, 'utf8');
  // readline does not report an error that ended it early.
  const failure = new Promise<never>((_, reject) => stream.once('error', reject));
  failure.catch(() => {});
  const lines = createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY })[Symbol.asyncIterator]();
  for (;;) {
    const { done, value } = await Promise.race([lines.next(), failure]);
    if (done) return;
    yield value;
  }
}

function wordsOf(line: string): Iterable<string> {
  return line.toLowerCase().match(/\p{L}{4,}/gu) ?? [];
}

const files = process.argv.slice(2);
if (files.length === 0) {
  console.error('usage: pipeline.ts <files>');
  process.exit(2);
}

const [fileSender, fileInbox] = mpsc.channel<string>(1);
const [lineSender, lineInbox] = mpsc.channel<string>(256);
const [wordSender, wordInbox] = mpsc.channel<string>(1_024);

const stages = [
  fileSender.sendMany(files).then(
    () => fileSender.close(),
    () => {}, // the reader ended, and its own promise has the error
  ),
  stage(fileInbox, lineSender, linesOf),
  stage(lineInbox, wordSender, wordsOf),
];

const counts = new Map<string, number>();
try {
  for await (const word of wordInbox) counts.set(word, (counts.get(word) ?? 0) + 1);
  const top = [...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1)).slice(0, 5);
  console.log(`${counts.size} words in ${files.length} files; most often:`);
  for (const [word, count] of top) console.log(`${String(count).padStart(6)}  ${word}`);
} catch (error) {
  console.error(`Cannot count words: ${(error as Error).message}`);
  process.exitCode = 1;
} finally {
  await Promise.all(stages);
}
