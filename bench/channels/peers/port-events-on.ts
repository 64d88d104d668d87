import type { Scenarios } from '../../harness/scenario.js';
import { postingTo } from './message-port.js';

export const scenarios: Scenarios = postingTo('events.on');
