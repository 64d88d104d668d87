import { testBurst, testKilledCommand } from './interruptions.js';

testKilledCommand(50);
testBurst(1_000);
