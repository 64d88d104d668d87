/**
 * Request and reply: an actor owns the seats of a theatre, everybody else asks. Each request carries the sender of its answer, so no seat is sold
 * twice and no lock is needed. A caller that gives up either has its seats or they are still free: there is nothing in between.
 *
 *     npm run example examples/request-reply.ts
 *
 * In a project that has millrace: `npx tsx request-reply.ts`.
 */
import { mpsc, oneshot } from 'millrace/channels';

type Answer = { readonly seats: readonly number[] } | { readonly soldOut: true; readonly left: number };

interface Reserve {
  readonly count: number;
  readonly reply: oneshot.Sender<Answer>;
}

class SoldOutError extends Error {
  override readonly name = 'SoldOutError';
}

/** The one place that knows which seats are free. It ends when every handle to it is closed. */
async function boxOffice(inbox: mpsc.Receiver<Reserve>, size: number): Promise<void> {
  let free = Array.from({ length: size }, (_, index) => index + 1);
  for await (const { count, reply } of inbox) {
    // Whoever has given up while the request waited is not served at all.
    if (reply.isClosed) continue;
    if (count > free.length) {
      reply.send({ soldOut: true, left: free.length });
      continue;
    }
    const seats = free.slice(0, count);
    // `send` is false when the caller has gone in the meantime: then nobody holds these seats.
    if (reply.send({ seats })) free = free.slice(count);
  }
}

/** What callers hold: the question as a function, its deadline included. */
function createClient(requests: mpsc.Sender<Reserve>) {
  return async (count: number, { timeoutMs = 1_000 } = {}): Promise<readonly number[]> => {
    if (!Number.isInteger(count) || count < 1) {
      throw new RangeError(`Cannot reserve: count must be 1 or more, received ${count}`);
    }
    const signal = AbortSignal.timeout(timeoutMs);
    const [reply, answer] = oneshot.channel<Answer>();
    await requests.send({ count, reply }, { signal });
    const result = await answer.recv({ signal }).catch((error: unknown) => {
      // From here on the actor's `send` answers false. What it sent just before counts.
      answer.close();
      const last = answer.tryRecv();
      if (last.state === 'ok') return last.value;
      throw error;
    });
    if ('soldOut' in result) throw new SoldOutError(`Cannot reserve ${count} seats: ${result.left} are left`);
    return result.seats;
  };
}

const [requests, inbox] = mpsc.channel<Reserve>(16);
const office = boxOffice(inbox, 10);
const reserve = createClient(requests);

const outcomes = await Promise.allSettled([reserve(4), reserve(4), reserve(4), reserve(2), reserve(0)]);
for (const outcome of outcomes) {
  if (outcome.status === 'fulfilled') console.log(`seats ${outcome.value.join(', ')}`);
  else console.log(`${outcome.reason.name}: ${outcome.reason.message}`);
}

requests.close();
await office;
