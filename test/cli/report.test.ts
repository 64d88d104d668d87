import { describe, expect, test } from 'vitest';
import { findNeighbours, renderReport } from '../../src/cli/output/report.js';

describe('findNeighbours()', () => {
  test('finds the most alike, nearest first, never the vector itself', async () => {
    const unit = (degrees: number): Float32Array => {
      const angle = (degrees / 180) * Math.PI;
      return Float32Array.of(Math.cos(angle), Math.sin(angle));
    };
    const found = await findNeighbours([0, 10, 30, 90, 92].map(unit), 2);
    expect(found.map((row) => row.map(({ index }) => index))).toEqual([
      [1, 2],
      [0, 2],
      [1, 0],
      [4, 2],
      [3, 2],
    ]);
    expect(found[0]?.[0]?.cosine).toBeCloseTo(Math.cos(Math.PI / 18), 6);
  });

  test('finds fewer where there are fewer', async () => {
    expect(await findNeighbours([Float32Array.of(1)], 3)).toEqual([[]]);
    expect(await findNeighbours([], 3)).toEqual([]);
  });
});

describe('renderReport()', () => {
  const page = [
    ...renderReport({
      title: 'A & B',
      facts: [['model', '<m>']],
      photos: [
        {
          name: '<script>alert(1)</script>.jpg',
          thumbnail: Uint8Array.of(1, 2, 3),
          neighbours: [{ index: 1, cosine: 0.5 }],
        },
        { name: '"b".jpg', thumbnail: undefined, neighbours: [{ index: 0, cosine: -0.5 }] },
      ],
      failures: [{ name: 'c.jpg', code: 'ERR_IMAGE_CORRUPT', message: 'torn' }],
    }),
  ].join('');

  test('names every photograph, its nearest and their cosine', () => {
    expect(page).toContain('id="photo-1"');
    expect(page).toContain('href="#photo-0"');
    expect(page).toContain('0.500');
    expect(page).toContain('ERR_IMAGE_CORRUPT');
  });

  test('needs nothing but itself', () => {
    expect(page).toContain('src="data:image/jpeg;base64,AQID"');
    expect(page).not.toMatch(/(?:src|href)="(?!data:|#)/);
    expect(page).not.toMatch(/url\(|@import|<link|<script/);
  });

  test('shows names as text, whatever they hold', () => {
    expect(page).not.toContain('<script>');
    expect(page).not.toContain('<m>');
    expect(page).not.toContain('alt=""b"');
  });
});
