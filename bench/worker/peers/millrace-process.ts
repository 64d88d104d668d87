import type { Scenarios } from '../../harness/scenario.js';
import { scenariosOf } from '../adapter.js';
import { openMillrace } from './millrace.js';

export const scenarios: Scenarios = scenariosOf(() => openMillrace('process'), 'copy');
