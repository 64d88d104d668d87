/** What other layers of the package take from this one beside its public face. */
export { dateOf } from './filter.js';
export { describeModel, isSameModel } from './model-of-index.js';
