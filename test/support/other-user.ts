/** Runs what permissions are to hold for: root may read everything. */
export async function withoutRoot<T>(run: () => Promise<T>): Promise<T> {
  if (process.geteuid?.() !== 0) return await run();
  process.seteuid?.(OTHER_USER);
  try {
    return await run();
  } finally {
    process.seteuid?.(0);
  }
}

/** A user who owns nothing. */
export const OTHER_USER = 65_534;
