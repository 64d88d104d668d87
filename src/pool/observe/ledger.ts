/**
 * Counts what became of every accepted request: accepted = succeeded + failed + expired + cancelled + pending, at any moment, and pending is 0
 * at every quiet one.
 */

/** How an accepted request can end. */
export type Outcome = 'succeeded' | 'failed' | 'expired' | 'cancelled';

/** The counts of one operation. */
export interface LedgerCounts {
  readonly accepted: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly expired: number;
  readonly cancelled: number;
  /** Accepted and not answered yet. */
  readonly pending: number;
  /** Turned away before they were accepted: no room, breaker open, closing. Not part of the sum. */
  readonly refused: number;
  /** Runs that were given to another worker because the first crashed. */
  readonly retried: number;
  /** Accepted requests that shared the run of an identical one. */
  readonly coalesced: number;
}

/** A mutable page of the ledger, for one operation. */
export class Ledger {
  accepted = 0;
  succeeded = 0;
  failed = 0;
  expired = 0;
  cancelled = 0;
  refused = 0;
  retried = 0;
  coalesced = 0;

  get pending(): number {
    return this.accepted - this.succeeded - this.failed - this.expired - this.cancelled;
  }

  counts(): LedgerCounts {
    return sumLedgers([this]);
  }
}

/** Adds pages up. */
export function sumLedgers(pages: Iterable<Ledger | LedgerCounts>): LedgerCounts {
  const sum = {
    accepted: 0,
    succeeded: 0,
    failed: 0,
    expired: 0,
    cancelled: 0,
    pending: 0,
    refused: 0,
    retried: 0,
    coalesced: 0,
  };
  for (const page of pages) for (const key of Object.keys(sum) as (keyof LedgerCounts)[]) sum[key] += page[key];
  return sum;
}
