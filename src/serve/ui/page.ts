/** The pages of the server: three files made into one, with nothing that comes from elsewhere. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { packageFile } from '../../worker/internal.js';
import type { Answer } from '../http/answer.js';

type PageFiles = readonly [html: string, style: string, script: string];

const loading = new Map<string, Promise<PageFiles>>();

/**
 * The page, with a nonce of its own: a browser runs its one script, and loads nothing.
 *
 * @param folder Where its files are, below `serve/`.
 * @param needsKey Whether what it shows asks for a key, so that the page does first.
 * @param pictures Where its pictures come from, as the policy names that.
 */
export async function pageAnswer(folder: string, needsKey: boolean, pictures = 'data: blob:'): Promise<Answer> {
  const read = (name: string): Promise<string> => readFile(packageFile(`serve/${folder}/page/${name}`), 'utf8');
  const files = loading.get(folder) ?? Promise.all([read('index.html'), read('style.css'), read('script.js')]);
  loading.set(folder, files);
  const [html, style, script] = await files;
  const nonce = randomBytes(18).toString('base64');
  const body = html
    .replace('data-keys="no"', `data-keys="${needsKey ? 'yes' : 'no'}"`)
    .replace('<!-- style -->', () => `<style nonce="${nonce}">${style}</style>`)
    .replace('<!-- script -->', () => `<script type="module" nonce="${nonce}">${script}</script>`);
  const policy = [
    "default-src 'none'",
    `script-src 'nonce-${nonce}'`,
    `style-src 'nonce-${nonce}'`,
    "connect-src 'self'",
    `img-src ${pictures}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ];
  return {
    status: 200,
    headers: {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': policy.join('; '),
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
      'cross-origin-opener-policy': 'same-origin',
    },
    body,
  };
}
