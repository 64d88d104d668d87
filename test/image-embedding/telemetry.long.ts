import { expect } from 'vitest';
import { linux, program, testNeeding } from '../support/needs.js';
import { oneImage, outsideEffects, photo } from './outside-effects.js';

// The runtime begins to send some 14 seconds after it was loaded.
testNeeding(linux, program('strace'))(
  'a pool that lives for half a minute opens no socket of the Internet',
  async () => {
    const { sockets } = await outsideEffects([oneImage, 'process', photo, '30000'], { isTraced: true });
    expect(sockets).toEqual([]);
    const asked = await outsideEffects([oneImage, 'process', photo, '30000'], {
      isTraced: true,
      env: { ORT_DISABLE_TELEMETRY: '0' },
    });
    expect(asked.sockets.length).toBeGreaterThan(0);
  },
);
