declare module 'comlink/dist/esm/node-adapter.mjs' {
  import type { Endpoint } from 'comlink';

  /** A Node port as an endpoint of comlink. */
  export default function nodeEndpoint(port: import('node:worker_threads').MessagePort): Endpoint;
}
