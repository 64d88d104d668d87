/** Whether a text begins as what Git has in the place of a large file that was not brought along. */
export function isLfsPointer(text: string): boolean {
  return text.startsWith('version https://git-lfs');
}
