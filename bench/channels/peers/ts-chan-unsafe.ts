import type { Scenarios } from '../../harness/scenario.js';
import { scenariosOf } from './ts-chan-shared.js';

export const scenarios: Scenarios = scenariosOf(true);
