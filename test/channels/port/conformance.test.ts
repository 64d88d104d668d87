import { describeMpsc } from '../conformance/mpsc.js';
import { bridged } from './loopback.js';

describeMpsc(bridged);
