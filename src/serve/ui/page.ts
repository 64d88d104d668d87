/** The page of the dashboard: three files made into one, with nothing that comes from elsewhere. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { packageFile } from '../../worker/internal.js';
import type { Answer } from '../http/answer.js';

let loading: Promise<readonly [html: string, style: string, script: string]> | undefined;

/**
 * The page, with a nonce of its own: a browser runs its one script, and loads nothing.
 *
 * @param needsKey Whether the stream of states asks for a key, so that the page does before it opens it.
 */
export async function pageAnswer(needsKey: boolean): Promise<Answer> {
  loading ??= Promise.all([read('index.html'), read('style.css'), read('script.js')]);
  const [html, style, script] = await loading;
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
    'img-src data: blob:',
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

async function read(name: string): Promise<string> {
  return await readFile(packageFile(`serve/ui/page/${name}`), 'utf8');
}
