/** Embeds the picture that is posted. One pool a process, also where the module is loaded again after an edit. */
import { createImageEmbeddingPool } from 'millrace/image-embedding';

globalThis.millracePool ??= createImageEmbeddingPool({ workers: { max: 1 } });

export async function POST(request) {
  const bytes = new Uint8Array(await request.arrayBuffer());
  const embedding = await globalThis.millracePool.embedImageBytes(bytes);
  return Response.json({ dimension: embedding.length });
}
