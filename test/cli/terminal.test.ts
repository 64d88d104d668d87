import { EventEmitter } from 'node:events';
import { describe, expect, test } from 'vitest';
import { handleInterrupts } from '../../src/cli/terminal/interrupts.js';
import { printable, renderTable, shorten, textWidth } from '../../src/cli/terminal/text.js';
import { SimulatedClock } from '../../src/core/index.js';

describe('renderTable()', () => {
  test('aligns columns by what a terminal shows, wide letters and combining marks included', () => {
    const table = renderTable(
      [{ title: 'photo' }, { title: 'cosine', align: 'right' }],
      [
        ['猫.jpg', '0.9'],
        ['cafe\u0301.jpg', '0.123'],
      ],
    );
    expect(table).toBe('photo     cosine\n────────  ──────\n猫.jpg       0.9\ncafe\u0301.jpg   0.123\n');
  });

  test('shortens the widest column in its middle until the line fits', () => {
    const table = renderTable([{ title: 'photo' }, { title: 'n' }], [['a-very-long-name-indeed-0001.jpg', '1']], 20);
    for (const line of table.trimEnd().split('\n')) expect(textWidth(line)).toBeLessThanOrEqual(20);
    expect(table).toContain('a-very-l…0001.jpg');
  });

  test('shows control characters of a name as question marks', () => {
    expect(renderTable([{ title: 'photo' }], [['\u001b[31mred\n']])).toContain('?[31mred?');
  });
});

test('shorten() leaves what fits alone', () => {
  expect([shorten('abc', 3), shorten('abcdef', 5), shorten('abc', 1), shorten('abc', 0)]).toEqual([
    'abc',
    'ab…ef',
    '…',
    '',
  ]);
});

test('printable() shows what would change the direction of text', () => {
  expect(printable('a\u202egpj.exe')).toBe('a?gpj.exe');
});

describe('handleInterrupts()', () => {
  const start = (): { clock: SimulatedClock; source: EventEmitter; seen: string[]; release: () => void } => {
    const clock = new SimulatedClock();
    const source = new EventEmitter();
    const seen: string[] = [];
    const release = handleInterrupts({
      clock,
      source: source as never,
      onFirst: (signal) => seen.push(`first ${signal}`),
      onSecond: (signal) => seen.push(`second ${signal}`),
    });
    return { clock, source, seen, release };
  };

  test('tells a first signal from a second', async () => {
    const { clock, source, seen } = start();
    source.emit('SIGINT', 'SIGINT');
    await clock.advance(400);
    source.emit('SIGTERM', 'SIGTERM');
    expect(seen).toEqual(['first SIGINT', 'second SIGTERM']);
  });

  test('takes signals that come together for one key press', async () => {
    const { clock, source, seen } = start();
    source.emit('SIGINT', 'SIGINT');
    await clock.advance(20);
    source.emit('SIGINT', 'SIGINT');
    expect(seen).toEqual(['first SIGINT']);
  });

  test('leaves no listener once released', () => {
    const { source, release } = start();
    release();
    expect(source.eventNames()).toEqual([]);
  });
});
