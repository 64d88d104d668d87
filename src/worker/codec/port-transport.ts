import type { MessagePort } from 'node:worker_threads';
import type { LinkTransport, Parcel } from './link.js';

/**
 * The transport between two threads: a port of its own. The one that every thread has (`parentPort`) would be open to whatever the model imports.
 */
export function portTransport(port: MessagePort): LinkTransport {
  return {
    canTransfer: true,
    send(parcel, transfer) {
      port.postMessage(parcel, transfer.length === 0 ? undefined : transfer);
    },
    subscribe(handler, onUnreadable) {
      port.on('message', (parcel: Parcel) => handler(parcel));
      port.on('messageerror', onUnreadable);
    },
  };
}
