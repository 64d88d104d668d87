import { describe, expect, test } from 'vitest';
import { Progress } from '../../src/cli/terminal/progress.js';
import { formatDuration, formatRate } from '../../src/cli/terminal/text.js';
import { SimulatedClock } from '../../src/core/index.js';

class FakeStream {
  text = '';
  readonly isTTY: boolean;
  readonly columns = 80;
  constructor(isTTY: boolean) {
    this.isTTY = isTTY;
  }
  write(text: string): void {
    this.text += text;
  }
  get lines(): string[] {
    return this.text.split('\n').slice(0, -1);
  }
}

describe('Progress', () => {
  test('writes a line about every second where there is no terminal', async () => {
    const clock = new SimulatedClock();
    const stream = new FakeStream(false);
    const progress = new Progress({ stream, unit: 'images', total: 100, clock });
    for (let second = 0; second < 3; second++) {
      for (let count = 0; count < 10; count++) progress.advance();
      await clock.advance(1_000);
    }
    progress.stop();
    expect(stream.lines).toEqual([
      '10/100 images  10.0 images/s  9.0 s left',
      '20/100 images  10.0 images/s  8.0 s left',
      '30/100 images  10.0 images/s  7.0 s left',
    ]);
    expect(clock.pendingTimers).toBe(0);
  });

  test('redraws one line with a bar on a terminal, and leaves the last one standing', async () => {
    const clock = new SimulatedClock();
    const stream = new FakeStream(true);
    const progress = new Progress({ stream, unit: 'images', total: 4, clock });
    progress.advance();
    progress.advance(true);
    await clock.advance(1_000);
    progress.stop();
    const last = stream.text.split('\r\u001b[2K').at(-1) as string;
    expect(last).toMatch(/^━{15}╌{15} {2}2\/4 images {2}2\.0 images\/s {2}1\.0 s left {2}1 failed\n$/);
    expect(stream.text.split('\n')).toHaveLength(2);
  });

  test('never draws a line as wide as the terminal', async () => {
    const clock = new SimulatedClock();
    const stream = new FakeStream(true);
    const progress = new Progress({ stream, unit: 'x'.repeat(90), total: 4, clock });
    await clock.advance(500);
    progress.stop();
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the terminal's own
    for (const line of stream.text.split(/\r\u001b\[2K|\n/)) expect([...line].length).toBeLessThan(80);
  });

  test('counts without a total where none is known', async () => {
    const clock = new SimulatedClock();
    const stream = new FakeStream(false);
    const progress = new Progress({ stream, unit: 'images', clock });
    progress.advance();
    await clock.advance(1_000);
    progress.stop();
    expect(stream.lines).toEqual(['1 images  1.0 images/s  1.0 s']);
  });

  test('shows a status until something is counted', async () => {
    const clock = new SimulatedClock();
    const stream = new FakeStream(false);
    const progress = new Progress({ stream, unit: 'images', total: 2, clock });
    progress.status = 'downloading a/b  1.0/4.0 MB';
    await clock.advance(1_000);
    progress.advance();
    await clock.advance(1_000);
    progress.stop();
    expect(stream.lines).toEqual(['downloading a/b  1.0/4.0 MB', expect.stringMatching(/^1\/2 images/)]);
  });

  test('takes the rate of the last ten seconds', async () => {
    const clock = new SimulatedClock();
    const stream = new FakeStream(false);
    const progress = new Progress({ stream, unit: 'images', total: 1_000, clock });
    for (let count = 0; count < 500; count++) progress.advance();
    await clock.advance(1_000);
    for (let second = 0; second < 30; second++) {
      progress.advance();
      await clock.advance(1_000);
    }
    progress.stop();
    expect(stream.lines.at(-1)).toMatch(/ {2}1\.\d images\/s {2}/);
  });

  test('note() writes above the bar', () => {
    const clock = new SimulatedClock();
    const stream = new FakeStream(true);
    const progress = new Progress({ stream, unit: 'images', total: 2, clock });
    progress.note('a.jpg: ERR_IMAGE_CORRUPT');
    progress.stop();
    expect(stream.text).toContain('\r\u001b[2Ka.jpg: ERR_IMAGE_CORRUPT\n');
  });
});

test('formatDuration() says spans as people do', () => {
  expect([400, 9_940, 12_000, 59_700, 185_000, 7_800_000, Number.POSITIVE_INFINITY].map(formatDuration)).toEqual([
    '0.4 s',
    '9.9 s',
    '12 s',
    '1 min 00 s',
    '3 min 05 s',
    '2 h 10 min',
    '?',
  ]);
});

test('formatRate() keeps the digits that mean something', () => {
  expect([0, 0.421, 8.31, 125.2, Number.NaN].map(formatRate)).toEqual(['0', '0.42', '8.3', '125', '0']);
});
