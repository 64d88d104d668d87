/** Queries as they are typed: `horse + stripes`, `2:golden retriever - leash`, `./pool.jpg + night`. */

/** One term of an expression. */
export interface ExpressionTerm {
  readonly weight: number;
  readonly kind: 'words' | 'picture' | 'url';
  readonly text: string;
}

/** Whether a text names a picture that is there. Is asked of what may be one: a text with a slash, or with a picture's ending. */
export type IsPicture = (text: string) => boolean | Promise<boolean>;

const WEIGHT = /^(\d+(?:\.\d+)?|\.\d+):(.+)$/s;
const PICTURE = /\.(jpe?g|jpe|jfif|png|webp|gif|avif|hei[cf]|tiff?)$/i;

/**
 * Takes an expression apart. `+` and `-` are operators where they have spaces around them, or are arguments of their own; `2:` before a term is its
 * weight. A term is a picture when it is a URL, or when it has a slash or a picture's ending and exists; else it is words.
 *
 * @param args The arguments of a command, or one text. One that names a picture as a whole may have spaces.
 * @param isPicture Looks for a file.
 * @returns The terms, in order.
 * @throws RangeError When an operator has nothing behind it, or the expression is empty.
 */
export async function parseExpression(args: readonly string[], isPicture: IsPicture): Promise<ExpressionTerm[]> {
  const terms: ExpressionTerm[] = [];
  let sign = 1;
  let words: string[] = [];
  let operator: string | undefined;

  const end = async (): Promise<void> => {
    if (words.length === 0) {
      if (operator !== undefined) throw new RangeError(`Cannot read query: nothing follows '${operator}'`);
      return;
    }
    const [, weight = '1', text = ''] = WEIGHT.exec(words.join(' ')) ?? [undefined, '1', words.join(' ')];
    terms.push({ weight: sign * Number(weight), ...(await kindOf(text, isPicture)) });
    words = [];
  };

  for (const token of await tokensOf(args, isPicture)) {
    if (token !== '+' && token !== '-') words.push(token);
    else {
      // A minus in front of the first term is its sign.
      await end();
      sign = token === '-' ? -1 : 1;
      operator = token;
    }
  }
  await end();
  if (terms.length === 0) throw new RangeError('Cannot read query: it is empty');
  return terms;
}

async function tokensOf(args: readonly string[], isPicture: IsPicture): Promise<string[]> {
  const tokens: string[] = [];
  for (const arg of args) {
    const [, , text = arg] = WEIGHT.exec(arg) ?? [];
    const { kind } = await kindOf(text, isPicture);
    if (kind === 'picture') tokens.push(arg);
    else tokens.push(...arg.split(/\s+/).filter((token) => token !== ''));
  }
  return tokens;
}

async function kindOf(text: string, isPicture: IsPicture): Promise<Pick<ExpressionTerm, 'kind' | 'text'>> {
  if (/^https?:\/\/\S+$/i.test(text)) return { kind: 'url', text };
  const mayBe = text.includes('/') || PICTURE.test(text);
  return { kind: mayBe && (await isPicture(text)) ? 'picture' : 'words', text };
}
