/**
 * Request and reply: an actor owns the seats of a theatre, and callers send it requests. Each request carries the sender of its reply, so no seat is
 * sold twice and no lock is needed. A caller that aborts either has its seats, or the seats are still free.
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

/** The actor: it alone knows which seats are free. It ends when every handle to it is closed. */
async function boxOffice(inbox: mpsc.Receiver<Reserve>, size: number): Promise<void> {
  let free = Array.from({ length: size }, (_, index) => index + 1);
  for await (const { count, reply } of inbox) {
    // A request whose caller aborted while it waited is not served.
    if (reply.isClosed) continue;
    if (count > free.length) {
      reply.send({ soldOut: true, left: free.length });
      continue;
    }
    const seats = free.slice(0, count);
    // `send` returns false when the caller has aborted meanwhile: the seats stay free.
    if (reply.send({ seats })) free = free.slice(count);
  }
}

/** The callers' side: a request as a function, with its deadline. */
function createClient(requests: mpsc.Sender<Reserve>) {
  return async (count: number, { timeoutMs = 1_000 } = {}): Promise<readonly number[]> => {
    if (!Number.isInteger(count) || count < 1) {
      throw new RangeError(`Cannot reserve: count must be 1 or more, received ${count}`);
    }
    const signal = AbortSignal.timeout(timeoutMs);
    const [reply, answer] = oneshot.channel<Answer>();
    await requests.send({ count, reply }, { signal });
    const result = await answer.recv({ signal }).catch((error: unknown) => {
      // From here on the actor's `send` returns false. A reply sent before counts.
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
