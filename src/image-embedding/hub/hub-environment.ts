/** What the environment says of the hub, as Python's huggingface_hub reads it: one cache, one login and one set of variables for both. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { homeFolder } from '../home-folder.js';

/** The folder of the hub's own settings and cache; undefined without a home. */
function hubHome(): string | undefined {
  const { HF_HOME, XDG_CACHE_HOME } = process.env;
  if (HF_HOME) return expand(HF_HOME);
  if (XDG_CACHE_HOME) return path.join(expand(XDG_CACHE_HOME), 'huggingface');
  const home = homeFolder();
  return home === undefined ? undefined : path.join(home, '.cache', 'huggingface');
}

/** Where models from the hub are kept: the folder that every Hugging Face library shares. Undefined without a home, when no variable names one. */
export function hubCacheFolder(): string | undefined {
  const { HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE } = process.env;
  const named = HF_HUB_CACHE || HUGGINGFACE_HUB_CACHE;
  if (named) return expand(named);
  const home = hubHome();
  return home === undefined ? undefined : path.join(home, 'hub');
}

/** The token that `hf auth login` stored, unless the environment says that it is not to be sent. */
export async function storedToken(): Promise<string | undefined> {
  const { HF_TOKEN_PATH, HF_HUB_DISABLE_IMPLICIT_TOKEN } = process.env;
  if (/^(?:1|on|yes|true)$/i.test(HF_HUB_DISABLE_IMPLICIT_TOKEN ?? '')) return undefined;
  const home = hubHome();
  const file = HF_TOKEN_PATH ? expand(HF_TOKEN_PATH) : home === undefined ? undefined : path.join(home, 'token');
  if (file === undefined) return undefined;
  const text = await readFile(file, 'utf8').catch(() => '');
  return text.replace(/[\r\n]/g, '').trim() || undefined;
}

/** The name of a proxy variable that is set and that Node does not use; undefined when there is none. */
export function unusedProxy(): string | undefined {
  const { env, execArgv } = process;
  if (env.NODE_USE_ENV_PROXY === '1' || execArgv.includes('--use-env-proxy')) return undefined;
  return ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'all_proxy'].find((name) => env[name]);
}

/** A shell expands these; a `.env` file or a Dockerfile does not. */
function expand(folder: string): string {
  const text = folder.replace(/\$(?:(\w+)|\{(\w+)\})/g, (whole, plain?: string, braced?: string) => {
    return process.env[plain ?? braced ?? ''] ?? whole;
  });
  const home = /^~(?=$|[\\/])/.test(text) ? homeFolder() : undefined;
  return home === undefined ? text : path.join(home, text.slice(1));
}
