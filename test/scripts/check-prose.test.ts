import { describe, expect, test } from 'vitest';
import { findProseFaults } from '../../scripts/check-prose.js';

const page = (text: string) => findProseFaults([{ name: 'docs/page.md', text }]);
const source = (text: string) => findProseFaults([{ name: 'src/pool/fleet.ts', text }]);

describe('findProseFaults', () => {
  test('names page, line and length of a line that is too long', () => {
    expect(page(`short\n${'word '.repeat(25)}`)).toEqual(['docs/page.md:2: 125 characters, at most 120']);
    expect(page('x '.repeat(60))).toEqual([]);
  });

  test('leaves table rows, links and long sources alone', () => {
    expect(page(`| ${'word '.repeat(30)} |`)).toEqual([]);
    expect(page(`![a picture](${'a/'.repeat(70)}picture.svg)`)).toEqual([]);
    expect(page(`- [${'a page '.repeat(20)}](page.md)`)).toEqual([]);
    expect(page(`https://example.org/${'a/'.repeat(70)}`)).toEqual([]);
    expect(source(`// ${'word '.repeat(30)}`)).toEqual([]);
  });

  test.each([
    ['Whoever waits is told.', 'Whoever', 'name the subject'],
    ['An error that nobody sees.', 'nobody', 'name the subject'],
    ['For those who wait.', 'those who', 'name the subject'],
    ['It stops. What is left is answered.', '. What is', 'name the subject'],
    ['// Where there is room', '// Where there is', 'name the subject'],
    ['Checked once, at the door.', 'door', 'say call, check or admission'],
    ['It has had its second chances.', 'second chances', 'say retry'],
    ['The settlement of a call', 'settlement', 'say outcome'],
    ['Waits for a turning point.', 'turning point', 'say event'],
    ['Served by turns.', 'by turns', 'say in turn, or beside others'],
    ['Run in company.', 'in company', 'say in turn, or beside others'],
  ])('refuses %j in pages and sources', (text, found, remedy) => {
    expect(page(text)).toEqual([`docs/page.md:1: "${found}": ${remedy}`]);
    expect(source(text)).toEqual([`src/pool/fleet.ts:1: "${found}": ${remedy}`]);
  });

  test('takes whole words only, and no code spans', () => {
    expect(page('A doorstep, settled outdoors, `nobody:nogroup`; it says what is missing.')).toEqual([]);
    expect(source('const doorway = settlementOf(call);')).toEqual([]);
  });
});
