/** Where models from the hub are kept: the folder that every Hugging Face library shares, as its own package finds it. */
export async function cacheFolder(): Promise<string> {
  const { getHFHubCachePath } = await import('@huggingface/hub');
  return getHFHubCachePath();
}
