import { test } from 'vitest';
import { checkIntervals } from './interval-model.js';
import { checkJoinSet } from './join-set-model.js';
import { checkOnceCell } from './once-cell-model.js';
import { checkTokens } from './token-model.js';

test('CancellationToken keeps to its model over any tree and any order of operations', () => checkTokens(200));
test('Interval keeps to its model over any order of ticks, resets and time', () => checkIntervals(200));
test('OnceCell keeps to its model over any order of calls, failures and aborts', () => checkOnceCell(200));
test('JoinSet keeps to its model over any order of tasks, aborts and joins', () => checkJoinSet(200));
