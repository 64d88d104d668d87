import { describeMpsc } from './conformance/mpsc.js';
import { bounded, unbounded } from './support/flavours.js';

for (const flavour of [bounded, unbounded]) describeMpsc(flavour);
