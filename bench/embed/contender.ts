/** What a contender of the embedding benchmark is, and what it is told. */
import type { ImageEmbeddingPoolOptions, ModelSpec } from 'millrace/image-embedding';

/** What there is to do; plain data. */
export interface Setup {
  /** The model's folder. */
  readonly folder: string;
  readonly spec: ModelSpec;
  readonly cores: number;
  /** Where the built package is, as a URL that ends in a slash. */
  readonly dist: string;
  /** What a pool is told beside its model. */
  readonly pool?: ImageEmbeddingPoolOptions;
}

/** One way to embed images, ready to run. */
export interface Contender {
  /** How many calls are under way at once. */
  readonly lanes: number;
  /** How many images a call takes. */
  readonly batch: number;
  /** Embeds files; a part that makes no vectors answers empty ones. */
  embed(paths: readonly string[]): Promise<readonly Float32Array[]>;
  close?(): Promise<unknown>;
}

/** What the module of a contender exports, by the contender's name there. */
export type Contenders = Readonly<Record<string, (setup: Setup) => Promise<Contender>>>;

/** A run: all images as fast as they go, or as they arrive at a rate. */
export interface RunOrder {
  readonly paths: readonly string[];
  /** Instead of the contender's own. */
  readonly lanes?: number;
  readonly batch?: number;
  /** Arrivals per second, at random times (Poisson), one image each. */
  readonly rate?: number;
}

/** What a contender's process says of a run. */
export interface RunAnswer {
  readonly ms: number;
  /** How long each call took, in ms. */
  readonly latencies: readonly number[];
  /** How late the event loop was at the 99th percentile, in ms; the resolution of 1 ms is in it. */
  readonly delayP99: number;
  /** The vector of the first image. */
  readonly first: readonly number[];
}
