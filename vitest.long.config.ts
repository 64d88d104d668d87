import { mergeConfig } from 'vitest/config';
import base from './vitest.config.js';

/** Soaks and fuzzing: `npm run test:long`. */
const merged = mergeConfig(base, { test: { testTimeout: 1_800_000, hookTimeout: 120_000 } });
// Merging would append to the list.
merged.test.include = ['test/**/*.long.ts'];

export default merged;
