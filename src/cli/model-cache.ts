import os from 'node:os';
import path from 'node:path';

/** Where models from the hub are kept: the folder that every Hugging Face library shares. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  const named = env.HF_HUB_CACHE ?? env.HUGGINGFACE_HUB_CACHE;
  if (named !== undefined && named !== '') return named;
  const home = env.HF_HOME ?? path.join(env.XDG_CACHE_HOME ?? path.join(os.homedir(), '.cache'), 'huggingface');
  return path.join(home, 'hub');
}
