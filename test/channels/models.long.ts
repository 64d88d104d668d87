import { test } from 'vitest';
import { checkBroadcast } from './model/broadcast-model.js';
import { checkNotify } from './model/notify-model.js';
import { checkSemaphore } from './model/semaphore-model.js';
import { checkWatch } from './model/watch-model.js';

// Up to 60 operations a run: a million and more for each.
const RUNS = 40_000;

test('broadcast keeps to its model', () => checkBroadcast(RUNS));
test('watch keeps to its model', () => checkWatch(RUNS));
test('Semaphore keeps to its model', () => checkSemaphore(RUNS));
test('Notify keeps to its model', () => checkNotify(RUNS));
