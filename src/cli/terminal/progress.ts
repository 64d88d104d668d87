import { type Clock, type ClockTimer, systemClock } from '../../core/index.js';
import { formatDuration, formatRate, shorten } from './text.js';

/** The stream that progress goes to: a bar on a terminal, else a line each second. */
export interface ProgressStream {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

/** Options of {@link Progress}. */
export interface ProgressOptions {
  readonly stream: ProgressStream;
  /** The counted things, in the plural. */
  readonly unit: string;
  /** How many there are, if known. */
  readonly total?: number | undefined;
  readonly clock?: Clock;
}

const REDRAW_MS = 80;
const LINE_MS = 1_000;
const RATE_WINDOW_MS = 10_000;
const CLEAR_LINE = '\r\u001b[2K';

/** Shows how many images are done, how fast, and how long the rest will take at the rate of the last ten seconds. */
export class Progress {
  readonly #stream: ProgressStream;
  readonly #unit: string;
  readonly #total: number | undefined;
  readonly #clock: Clock;
  readonly #startedAt: number;
  readonly #isTTY: boolean;
  #samples: { at: number; done: number }[] = [];
  #done = 0;
  #failed = 0;
  #timer: ClockTimer | undefined;
  #isDrawn = false;
  #status: string | undefined;

  constructor(options: ProgressOptions) {
    this.#stream = options.stream;
    this.#unit = options.unit;
    this.#total = options.total;
    this.#clock = options.clock ?? systemClock;
    this.#isTTY = options.stream.isTTY === true;
    this.#startedAt = this.#clock.now();
    this.#samples.push({ at: this.#startedAt, done: 0 });
    if (this.#isTTY) this.#draw();
    this.#schedule();
  }

  /** How many are done, failed ones included. */
  get done(): number {
    return this.#done;
  }

  /** How many of them failed. */
  get failed(): number {
    return this.#failed;
  }

  /** The time since it was made, in ms. */
  get elapsedMs(): number {
    return this.#clock.now() - this.#startedAt;
  }

  /** Counts one more. */
  advance(isFailure = false): void {
    this.#done++;
    if (isFailure) this.#failed++;
  }

  /** Text to show before the first image is counted. */
  set status(text: string | undefined) {
    this.#status = text;
  }

  /** Prints a line above the bar. */
  note(text: string): void {
    const erase = this.#isDrawn ? CLEAR_LINE : '';
    this.#stream.write(`${erase}${text}\n`);
    this.#isDrawn = false;
    if (this.#isTTY && this.#timer !== undefined) this.#draw();
  }

  /** Draws it a last time and stops. A second call does nothing. */
  stop(): void {
    if (this.#timer === undefined) return;
    this.#timer.cancel();
    this.#timer = undefined;
    if (!this.#isTTY) return;
    this.#draw();
    this.#stream.write('\n');
    this.#isDrawn = false;
  }

  #schedule(): void {
    this.#timer = this.#clock.setTimer(
      () => {
        this.#sample();
        if (this.#isTTY) this.#draw();
        else this.#stream.write(`${this.#text()}\n`);
        this.#schedule();
      },
      this.#isTTY ? REDRAW_MS : LINE_MS,
    );
  }

  #sample(): void {
    const now = this.#clock.now();
    this.#samples.push({ at: now, done: this.#done });
    while (this.#samples.length > 2 && now - (this.#samples[1] as { at: number }).at >= RATE_WINDOW_MS) {
      this.#samples.shift();
    }
  }

  #rate(): number {
    const first = this.#samples[0] as { at: number; done: number };
    const span = this.#clock.now() - first.at;
    return span <= 0 ? 0 : ((this.#done - first.done) / span) * 1000;
  }

  #text(): string {
    const rate = this.#rate();
    if (this.#status !== undefined && this.#done === 0) return this.#status;
    const parts = [
      this.#total === undefined ? `${this.#done} ${this.#unit}` : `${this.#done}/${this.#total} ${this.#unit}`,
      `${formatRate(rate)} ${this.#unit}/s`,
    ];
    if (this.#total !== undefined && this.#done < this.#total) {
      parts.push(rate > 0 ? `${formatDuration(((this.#total - this.#done) / rate) * 1000)} left` : 'starting');
    } else parts.push(formatDuration(this.elapsedMs));
    if (this.#failed > 0) parts.push(`${this.#failed} failed`);
    return parts.join('  ');
  }

  #draw(): void {
    const columns = this.#stream.columns ?? 80;
    const text = this.#text();
    const room = Math.min(30, columns - text.length - 4);
    const bar = this.#total !== undefined && this.#total > 0 && room >= 8 ? `${this.#bar(room)}  ` : '';
    // One column short of the edge: a full line would wrap on some terminals and the next redraw would miss it.
    this.#stream.write(`${CLEAR_LINE}${shorten(bar + text, columns - 1)}`);
    this.#isDrawn = true;
  }

  #bar(width: number): string {
    const share = Math.min(1, this.#done / (this.#total as number));
    const filled = Math.round(share * width);
    return '━'.repeat(filled) + '╌'.repeat(width - filled);
  }
}
