/** The names of what a bulk run has on the server: subjects, streams, the consumer of its jobs. */
import { type Check, faultOf } from '../../core/index.js';

const NAME = /^[A-Za-z0-9_-]{1,64}$/;

/** A name that can be a part of a subject and of a stream's name. */
export const nameCheck: Check<string> = (action, name, value) => {
  if (typeof value === 'string' && NAME.test(value)) return value;
  throw faultOf(action, name, "1 to 64 letters, digits, '-' or '_'", value);
};

/** The names of a service. */
export class ServiceNames {
  readonly service: string;
  readonly jobs: string;
  readonly results: string;
  readonly parts: string;
  readonly notes: string;
  readonly runs: string;

  constructor(service: string) {
    this.service = service;
    this.jobs = `millrace-${service}-jobs`;
    this.results = `millrace-${service}-results`;
    this.parts = `millrace-${service}-parts`;
    this.notes = `millrace-${service}-notes`;
    // The layout of a key-value bucket, so that `nats kv get` reads it.
    this.runs = `KV_millrace-${service}-runs`;
  }

  job(run: string, index: number | '*'): string {
    return `millrace.${this.service}.job.${run}.${index}`;
  }

  result(run: string, index: number | '*'): string {
    return `millrace.${this.service}.result.${run}.${index}`;
  }

  /** A part of a job that is too large for a message, named by the job's content. */
  part(run: string, index: number, digest: string, part: number): string {
    return `millrace.${this.service}.part.${run}.${index}.${digest}.${part}`;
  }

  /** All parts of a run, or of one of its jobs. */
  partsOf(run: string, index?: number): string {
    return `millrace.${this.service}.part.${run}.${index === undefined ? '' : `${index}.`}>`;
  }

  /** How often a job was begun; only of those that were delivered more than once. */
  attempts(run: string, index: number | '*'): string {
    return `millrace.${this.service}.attempts.${run}.${index}`;
  }

  /** A job that is dead, kept so that it can be tried again. */
  dead(run: string, index: number | '*'): string {
    return `millrace.${this.service}.dead.${run}.${index}`;
  }

  record(run: string): string {
    return `$KV.millrace-${this.service}-runs.${run}`;
  }

  consumer(run: string): string {
    return `run-${run}`;
  }
}

/** The index that a subject ends with. */
export function indexOf(subject: string): number {
  return Number(subject.slice(subject.lastIndexOf('.') + 1));
}
