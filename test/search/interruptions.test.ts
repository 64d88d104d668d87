import { testBurst, testFullDisk, testInterruptedReindex, testKilledCommand } from './interruptions.js';

testKilledCommand(2);
testBurst(100);
testFullDisk();
testInterruptedReindex();
