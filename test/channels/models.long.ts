import { test } from 'vitest';
import { checkBroadcast } from './model/broadcast-model.js';
import { checkIntervals } from './model/interval-model.js';
import { checkJoinSet } from './model/join-set-model.js';
import { checkNotify } from './model/notify-model.js';
import { checkOnceCell } from './model/once-cell-model.js';
import { checkSemaphore } from './model/semaphore-model.js';
import { checkTokens } from './model/token-model.js';
import { checkWatch } from './model/watch-model.js';

// Up to 60 operations a run: a million and more for each, and some hundred thousand for those that are slower to play.
const RUNS = 40_000;
const SLOW_RUNS = 10_000;

test('broadcast keeps to its model', () => checkBroadcast(RUNS));
test('watch keeps to its model', () => checkWatch(RUNS));
test('Semaphore keeps to its model', () => checkSemaphore(RUNS));
test('Notify keeps to its model', () => checkNotify(RUNS));
test('CancellationToken keeps to its model', () => checkTokens(SLOW_RUNS));
test('Interval keeps to its model', () => checkIntervals(SLOW_RUNS));
test('OnceCell keeps to its model', () => checkOnceCell(SLOW_RUNS));
test('JoinSet keeps to its model', () => checkJoinSet(SLOW_RUNS));
