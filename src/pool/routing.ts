/**
 * Which worker gets the next request. A strategy sees only workers that may take one: ready, processing or idle, and with room in their
 * window. What it is shown is owned by the pool and must not be kept.
 */

/** A worker as a routing strategy sees it. */
export interface RoutingCandidate {
  /** The worker's name, stable for its life. */
  readonly id: string;
  /** How many requests it has been given and not answered. */
  readonly pending: number;
  /** How many it may hold at once. */
  readonly window: number;
  /** Since when it has had nothing to do, in ms on the pool's clock: its last answer, or its start. Undefined while it has. */
  readonly idleSince?: number | undefined;
}

/** A routing strategy: answers one of the candidates, of which there is at least one. */
export type Routing = (candidates: readonly RoutingCandidate[]) => RoutingCandidate;

/**
 * Two candidates at random, and of them the one with less pending work: close to the least loaded, without looking at all of them.
 * (M. Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, 2001.) Of two that have nothing to do the one that worked or started last,
 * whose code and model are still in the caches; the others stay idle long enough to be evicted.
 *
 * @param random A generator of numbers in [0, 1), for tests.
 * @example
 * ```ts
 * const busy = { id: 'a', pending: 3, window: 4 };
 * const free = { id: 'b', pending: 0, window: 4 };
 * powerOfTwoChoices()([busy, free]).id; // => 'b'
 * ```
 */
export function powerOfTwoChoices(random: () => number = Math.random): Routing {
  return (candidates) => {
    const count = candidates.length;
    const first = candidates[Math.floor(random() * count)] as RoutingCandidate;
    if (count === 1) return first;
    let other = Math.floor(random() * (count - 1));
    if (candidates[other] === first) other = count - 1;
    const second = candidates[other] as RoutingCandidate;
    if (second.pending !== first.pending) return second.pending < first.pending ? second : first;
    return (second.idleSince ?? 0) > (first.idleSince ?? 0) ? second : first;
  };
}

/**
 * The candidate with the least pending work; the first of equals.
 *
 * @example
 * ```ts
 * const workers = [3, 1].map((pending) => ({ id: `w${pending}`, pending, window: 4 }));
 * leastLoaded()(workers).id; // => 'w1'
 * ```
 */
export function leastLoaded(): Routing {
  return (candidates) => {
    let best = candidates[0] as RoutingCandidate;
    for (const each of candidates) if (each.pending < best.pending) best = each;
    return best;
  };
}

/**
 * Each candidate in turn, by name, whichever have room.
 *
 * @example
 * ```ts
 * const workers = ['a', 'b'].map((id) => ({ id, pending: 0, window: 1 }));
 * const route = roundRobin();
 * [route(workers).id, route(workers).id, route(workers).id]; // => ['a', 'b', 'a']
 * ```
 */
export function roundRobin(): Routing {
  let last = '';
  return (candidates) => {
    let lowest = candidates[0] as RoutingCandidate;
    let next: RoutingCandidate | undefined;
    for (const each of candidates) {
      if (each.id < lowest.id) lowest = each;
      if (each.id > last && (next === undefined || each.id < next.id)) next = each;
    }
    const chosen = next ?? lowest;
    last = chosen.id;
    return chosen;
  };
}

/** Keeps a user's strategy from losing a request: where it throws, or answers no candidate, a warning is emitted once and the first is taken. */
export function guarded(routing: Routing): Routing {
  let isTold = false;
  return (candidates) => {
    let problem = 'answered none of the candidates';
    try {
      const chosen = routing(candidates);
      if (candidates.includes(chosen)) return chosen;
    } catch (error) {
      problem = `threw ${String(error)}`;
    }
    if (!isTold) process.emitWarning(`A routing strategy ${problem}: the first worker is taken`, 'MillraceWarning');
    isTold = true;
    return candidates[0] as RoutingCandidate;
  };
}
