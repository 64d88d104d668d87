import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Notify, select, sleep } from '../../channels/index.js';

/** So long nothing may happen before a burst counts as over, in ms. */
const QUIET_MS = 700;
/** A burst is acted on after so long at the latest, in ms. */
const MOST_MS = 3_000;

/**
 * Watches files and folders, at any depth.
 *
 * @returns One value for each burst of changes, once it is over, until the signal aborts.
 */
export async function* watchFolders(paths: readonly string[], signal: AbortSignal): AsyncGenerator<void, void, void> {
  // Keeps one notification, however many changes come before it is looked at.
  const changed = new Notify();
  const watchers: FSWatcher[] = [];
  try {
    for (const path of paths) {
      const found = await stat(path).catch(() => undefined);
      if (found === undefined) continue;
      const watcher = watch(path, { recursive: found.isDirectory(), persistent: true }, () => changed.notifyOne());
      // A folder that is removed while it is looked at: the next burst shows what is left.
      watcher.on('error', () => changed.notifyOne());
      watchers.push(watcher);
    }
    for (;;) {
      const { arm } = await select({ changed, stop: signal });
      if (arm !== 'changed') return;
      const latest = Date.now() + MOST_MS;
      for (let isQuiet = false; !isQuiet && Date.now() < latest; ) {
        const next = await select({ changed, stop: signal, quiet: sleep(QUIET_MS) }, { biased: true });
        if (next.arm === 'stop') return;
        isQuiet = next.arm === 'quiet';
      }
      yield;
    }
  } finally {
    for (const watcher of watchers) watcher.close();
  }
}
