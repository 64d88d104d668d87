import { test, vi } from 'vitest';
import { checkIntervals } from './interval-model.js';
import { checkJoinSet } from './join-set-model.js';
import { checkOnceCell } from './once-cell-model.js';
import { checkTokens } from './token-model.js';

vi.setConfig({ testTimeout: 60_000 });

test('CancellationToken keeps to its model over any tree and any order of operations', () => checkTokens(150));
test('Interval keeps to its model over any order of ticks, resets and time', () => checkIntervals(150));
test('OnceCell keeps to its model over any order of calls, failures and aborts', () => checkOnceCell(150));
test('JoinSet keeps to its model over any order of tasks, aborts and joins', () => checkJoinSet(150));
