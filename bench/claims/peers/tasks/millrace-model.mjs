import * as tasks from './tasks.mjs';

export default () => ({ ...tasks });
