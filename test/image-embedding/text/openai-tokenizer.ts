/** CLIP's tokenizer as OpenAI wrote it (`simple_tokenizer.py`), without ftfy and HTML entities: an oracle for ours. */

const PATTERN = /<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+/giu;

/** Reads texts by the merges of the vocabulary. */
export function openAiTokenizer(merges: readonly string[]): (text: string) => number[] {
  const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, at) => from + at);
  const plain = [...range(33, 126), ...range(161, 172), ...range(174, 255)];
  const others = range(0, 255).filter((byte) => !plain.includes(byte));
  const characters = new Map<number, string>();
  for (const byte of plain) characters.set(byte, String.fromCharCode(byte));
  for (const [at, byte] of others.entries()) characters.set(byte, String.fromCharCode(256 + at));
  const single = [...characters.values()];
  const tokens = [...single, ...single.map((each) => `${each}</w>`), ...merges.map((merge) => merge.replace(' ', ''))];
  tokens.push('<|startoftext|>', '<|endoftext|>');
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const ranks = new Map(merges.map((merge, rank) => [merge, rank]));

  const split = (word: string): string[] => {
    let parts = [...word];
    parts[parts.length - 1] += '</w>';
    for (;;) {
      let best: string | undefined;
      let least = Number.POSITIVE_INFINITY;
      for (let at = 0; at + 1 < parts.length; at++) {
        const rank = ranks.get(`${parts[at]} ${parts[at + 1]}`) ?? Number.POSITIVE_INFINITY;
        if (rank < least) {
          least = rank;
          best = `${parts[at]} ${parts[at + 1]}`;
        }
      }
      if (best === undefined) return parts;
      const joined: string[] = [];
      for (let at = 0; at < parts.length; at++) {
        if (`${parts[at]} ${parts[at + 1]}` === best) {
          joined.push(`${parts[at]}${parts[at + 1]}`);
          at++;
        } else joined.push(parts[at] as string);
      }
      parts = joined;
    }
  };

  return (text) => {
    const clean = text.replace(/\s+/gu, ' ').trim().toLowerCase();
    const words = [...clean.matchAll(PATTERN)].map(([word]) => word);
    const body = words.flatMap((word) => {
      const bytes = [...new TextEncoder().encode(word)].map((byte) => characters.get(byte) as string);
      return split(bytes.join('')).map((token) => ids.get(token) as number);
    });
    return [tokens.length - 2, ...body, tokens.length - 1];
  };
}
