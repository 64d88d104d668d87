import { linux, pidNamespaces, root, testNeeding } from '../support/needs.js';
import { tempFolder } from '../support/temp-folder.js';
import { killAndResume } from './container-kinds.js';

const at = tempFolder('killed');

testNeeding(linux, root, pidNamespaces)(
  'millrace embed --resume continues in a new container once the lock of the killed one is stale',
  () => killAndResume(at(), 0),
  90_000,
);
