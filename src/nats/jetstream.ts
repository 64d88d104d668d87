/**
 * The requests of JetStream that bulk jobs need, as JSON over plain publish and subscribe: what the server has had since 2.9, and nothing that depends
 * on the version of a client. A request that the server did not answer is sent again, for all of them may be: a publish is refused the second time by
 * its subject, a record by its revision.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { NatsConnectionError } from './errors.js';
import type { Nats } from './nats.js';
import type { NatsMessageLike } from './nats-connection.js';

/** The server's refusal of a request. @internal */
export class JetStreamRefusal extends Error {
  readonly errorCode: number;

  constructor(action: string, errorCode: number, description: string) {
    super(`Cannot ${action}: ${description}`);
    this.errorCode = errorCode;
  }

  /** Whether the stream has no room for now. */
  get isFull(): boolean {
    return /maximum (bytes|messages) exceeded|insufficient (storage|memory|resources)/.test(this.message);
  }

  /** Whether the stream holds a message of that subject, and takes one at most. */
  get isTaken(): boolean {
    return /maximum messages per subject exceeded/.test(this.message);
  }
}

/** What a stored message is. */
export interface StoredMessage {
  readonly subject: string;
  readonly sequence: number;
  readonly data: Uint8Array;
}

/** How long a caller goes on asking. */
export interface Patience {
  readonly signal?: AbortSignal | undefined;
  /** In ms, from the first attempt; may be `Infinity`. */
  readonly patienceMs: number;
}

interface ApiError {
  readonly code: number;
  readonly err_code?: number;
  readonly description: string;
}

const ANSWER_MS = 2_000;
const FIRST_PAUSE_MS = 50;
const MAX_PAUSE_MS = 1_000;
const WRONG_LAST_SEQUENCE = 10_071;
const NOT_FOUND = new Set([10_014, 10_037, 10_059]);
/** JetStream is starting, has no leader or is short of resources for a moment. */
const PASSING = new Set([10_008, 10_009, 10_039, 10_074]);

/** Asks the JetStream of a server. */
export class JetStream {
  readonly nats: Nats;
  readonly #patience: Patience;

  constructor(nats: Nats, patience: Patience) {
    this.nats = nats;
    this.#patience = patience;
  }

  /** The same server, asked with another patience. */
  withPatience(patience: Patience): JetStream {
    return new JetStream(this.nats, patience);
  }

  /** A request of the API. @returns Its answer; undefined where what is asked for does not exist. */
  async ask<T extends object>(action: string, verb: string, body: object = {}): Promise<T | undefined> {
    const payload = JSON.stringify(body);
    return await this.#repeat(action, async () => {
      const { data } = await this.nats.request(`$JS.API.${verb}`, payload, { timeout: ANSWER_MS });
      const answer = JSON.parse(Buffer.from(data).toString()) as T & { error?: ApiError };
      if (answer.error === undefined) return answer;
      if (NOT_FOUND.has(answer.error.err_code ?? 0)) return undefined;
      throw refusalOf(action, answer.error);
    });
  }

  /**
   * Stores a message.
   *
   * @param expected The sequence of the last message of its subject, 0 for none; not checked by default.
   * @returns Its sequence; undefined where the subject is taken, or its last message is not the expected one.
   * @throws JetStreamRefusal When the stream is full, or refuses for another reason.
   */
  async publish(
    subject: string,
    data: Uint8Array,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<number | undefined> {
    const action = `store ${subject}`;
    const entries = Object.entries(headers);
    let sent = {};
    if (entries.length > 0) {
      const set = this.nats.headers();
      for (const [name, value] of entries) set.set(name, value);
      sent = { headers: set };
    }
    return await this.#repeat(action, async () => {
      const answer = await this.nats.request(subject, data, { timeout: ANSWER_MS, ...sent });
      const { error, seq } = JSON.parse(Buffer.from(answer.data).toString()) as { error?: ApiError; seq?: number };
      if (error === undefined) return seq;
      const refusal = refusalOf(action, error);
      if (refusal.isTaken || refusal.errorCode === WRONG_LAST_SEQUENCE) return undefined;
      throw refusal;
    });
  }

  /** Stores a message where the last one of its subject has that sequence, 0 for none. @returns False where it has another. */
  async replace(subject: string, data: Uint8Array, sequence: number): Promise<boolean> {
    const headers = { 'Nats-Expected-Last-Subject-Sequence': String(sequence) };
    return (await this.publish(subject, data, headers)) !== undefined;
  }

  /** The last message of a subject, with its own copy of the bytes; undefined if there is none. */
  async last(stream: string, subject: string): Promise<StoredMessage | undefined> {
    return await this.#repeat(`read ${subject}`, async () => {
      const message = await this.nats.request(`$JS.API.DIRECT.GET.${stream}.${subject}`, '', { timeout: ANSWER_MS });
      const code = message.headers?.code ?? 0;
      if (code === 404) return undefined;
      if (code !== 0) throw new Error(`${code} ${message.headers?.description ?? ''}`);
      return {
        subject,
        sequence: Number(message.headers?.get('Nats-Sequence')),
        data: message.data,
      };
    });
  }

  /** Deletes the messages of a subject, which may have wildcards. @returns How many. */
  async purge(stream: string, subject: string): Promise<number> {
    const answer = await this.ask<{ purged: number }>(`purge ${subject}`, `STREAM.PURGE.${stream}`, {
      filter: subject,
    });
    return answer?.purged ?? 0;
  }

  /** The subjects below a pattern that hold a message. */
  async subjects(stream: string, pattern: string): Promise<string[]> {
    const found: string[] = [];
    for (;;) {
      const body = { subjects_filter: pattern, offset: found.length };
      const info = await this.ask<{ state: { subjects?: Record<string, number> }; total?: number }>(
        `list ${pattern}`,
        `STREAM.INFO.${stream}`,
        body,
      );
      const names = Object.keys(info?.state.subjects ?? {});
      found.push(...names);
      if (names.length === 0 || found.length >= (info?.total ?? 0)) return found;
    }
  }

  async #repeat<T>(action: string, attempt: () => Promise<T>): Promise<T> {
    const { signal, patienceMs } = this.#patience;
    const end = performance.now() + patienceMs;
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, MAX_PAUSE_MS)) {
      signal?.throwIfAborted();
      let failure: unknown = new Error('there is no connection to the server');
      // A message published without a connection is lost.
      if (this.nats.isConnected) {
        try {
          return await attempt();
        } catch (error) {
          if (error instanceof JetStreamRefusal && !PASSING.has(error.errorCode)) throw error;
          if (!(error instanceof JetStreamRefusal) && !isPassing(error)) throw error;
          failure = error;
        }
      }
      if (this.nats.connection.isClosed() || performance.now() + pause > end) {
        throw new NatsConnectionError(`Cannot ${action}: the NATS server did not answer`, { cause: failure });
      }
      await delay(pause, undefined, { signal });
    }
  }
}

function refusalOf(action: string, { err_code, code, description }: ApiError): JetStreamRefusal {
  return new JetStreamRefusal(action, err_code ?? code, description);
}

/** Whether a failed request may succeed later: any but those that the client refuses for what they are. */
function isPassing(error: unknown): boolean {
  const name = (error as { name?: unknown } | null)?.name;
  return name !== 'InvalidArgumentError' && name !== 'InvalidSubjectError' && !(error instanceof TypeError);
}

/** The text of a status message, which has no data but a code. @internal */
export function statusOf({ headers, data }: NatsMessageLike): number | undefined {
  const code = headers?.code ?? 0;
  return data.length === 0 && code >= 100 ? code : undefined;
}
