/** Nothing at all, in another thread: for the pool, and for piscina. */
export default () => ({ noop: (value) => value + 1 });
