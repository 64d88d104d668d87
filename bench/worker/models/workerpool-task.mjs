import workerpool from 'workerpool';

workerpool.worker({
  increment: async (value) => value + 1,
  same: async (array) => array,
  moved: async (array) => new workerpool.Transfer(array, [array.buffer]),
});
