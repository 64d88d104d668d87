/** What the server counts, as Prometheus text. Counting costs an increment; the text is made at a scrape, and needs no package. */
import type { Admission } from './admission.js';
import type { ByteBudget } from './http/byte-budget.js';

/** The upper bounds of the buckets of a request's duration, in seconds. */
export const DURATION_BOUNDS: readonly number[] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

interface RouteCounts {
  readonly labels: string;
  readonly byStatus: Map<number, number>;
  readonly buckets: number[];
  sum: number;
  count: number;
}

/** Which route a request took. */
export interface RouteLabels {
  readonly protocol: string;
  /** The path as it was registered, never as it was sent. */
  readonly route: string;
}

/** Counts requests. */
export class ServeMetrics {
  readonly #routes = new Map<string, RouteCounts>();
  readonly #admission: Admission;
  readonly #bodies: ByteBudget;

  constructor(admission: Admission, bodies: ByteBudget) {
    this.#admission = admission;
    this.#bodies = bodies;
  }

  /** One request was answered. */
  count({ protocol, route }: RouteLabels, status: number, seconds: number): void {
    const labels = `protocol="${protocol}",route="${route}"`;
    let counts = this.#routes.get(labels);
    if (counts === undefined) {
      counts = { labels, byStatus: new Map(), buckets: new Array(DURATION_BOUNDS.length).fill(0), sum: 0, count: 0 };
      this.#routes.set(labels, counts);
    }
    counts.byStatus.set(status, (counts.byStatus.get(status) ?? 0) + 1);
    counts.count++;
    counts.sum += seconds;
    const bucket = DURATION_BOUNDS.findIndex((bound) => seconds <= bound);
    if (bucket >= 0) counts.buckets[bucket] = (counts.buckets[bucket] as number) + 1;
  }

  /** All metrics of the server. */
  render(): string {
    const lines: string[] = [];
    const declare = (name: string, type: string, help: string): string => {
      lines.push(`# HELP millrace_serve_${name} ${help}`, `# TYPE millrace_serve_${name} ${type}`);
      return `millrace_serve_${name}`;
    };
    const requests = declare('requests_total', 'counter', 'Requests by how they were answered.');
    for (const { labels, byStatus } of this.#routes.values()) {
      for (const [status, count] of byStatus) lines.push(`${requests}{${labels},status="${status}"} ${count}`);
    }
    const duration = declare('request_seconds', 'histogram', 'From the header of a request to its answer.');
    for (const { labels, buckets, sum, count } of this.#routes.values()) {
      let below = 0;
      for (const [index, bound] of DURATION_BOUNDS.entries()) {
        below += buckets[index] as number;
        lines.push(`${duration}_bucket{${labels},le="${bound}"} ${below}`);
      }
      lines.push(
        `${duration}_bucket{${labels},le="+Inf"} ${count}`,
        `${duration}_sum{${labels}} ${sum}`,
        `${duration}_count{${labels}} ${count}`,
      );
    }
    const { accepted, refused, underWay, ...outcomes } = this.#admission.counts();
    lines.push(`${declare('images_accepted_total', 'counter', 'Images that were let in.')} ${accepted}`);
    const settled = declare('images_settled_total', 'counter', 'Images that were let in, by how they ended.');
    for (const [outcome, count] of Object.entries(outcomes)) lines.push(`${settled}{outcome="${outcome}"} ${count}`);
    lines.push(
      `${declare('requests_refused_total', 'counter', 'Requests refused for want of room.')} ${refused}`,
      `${declare('images_under_way', 'gauge', 'Images that are being answered.')} ${underWay}`,
      `${declare('images_limit', 'gauge', 'How many may be.')} ${this.#admission.limit}`,
      `${declare('body_bytes', 'gauge', 'Bytes of request bodies that are held.')} ${this.#bodies.used}`,
      `${declare('body_limit_bytes', 'gauge', 'How many may be.')} ${this.#bodies.limit}`,
    );
    return `${lines.join('\n')}\n`;
  }
}
