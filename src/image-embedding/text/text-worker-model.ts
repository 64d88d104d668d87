/** The model module of a text worker: the text tower of a model, in a process of its own, which goes when nothing is searched for. */
import type { ModelOf } from '../../worker/index.js';
import type { SessionOptions } from '../inference/session.js';
import type { TextOperations } from './text-operations.js';
import { TextSession } from './text-session.js';
import type { TextSpec } from './text-spec.js';

/** What the module is given; plain data, since it crosses to another process. */
export interface TextWorkerOptions {
  readonly spec: TextSpec;
  readonly session: SessionOptions;
}

/** Loads the text tower. */
export default async function createModel({ spec, session }: TextWorkerOptions): Promise<ModelOf<TextOperations>> {
  const text = await TextSession.load(spec, session);
  return {
    embedText: (input) => text.embed(input),
    dispose: () => text.dispose(),
  };
}
