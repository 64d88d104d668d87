export default () => ({
  increment: async (value) => value + 1,
  same: async (array) => array,
});
