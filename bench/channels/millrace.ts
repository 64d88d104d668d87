import type { Scenarios } from '../harness/scenario.js';
export const scenarios: Scenarios = {};
