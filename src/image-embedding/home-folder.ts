import os from 'node:os';

/** The user's home folder; undefined where there is none: a user id without an entry, or an empty environment. */
export function homeFolder(): string | undefined {
  try {
    return os.homedir() || undefined;
  } catch {
    return undefined;
  }
}
