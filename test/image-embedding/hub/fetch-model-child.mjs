// Brings a model from a hub, in a process of its own: node fetch-model-child.mjs <endpoint> <cache> <name>.
import { fetchModel } from '../../../dist/image-embedding/hub/fetch-model.js';
import { requireHubOptions } from '../../../dist/image-embedding/hub/hub-options.js';

const [endpoint, cacheDir, from] = process.argv.slice(2);
await fetchModel({ from }, requireHubOptions('Test', { endpoint, cacheDir, offline: false }), undefined);
