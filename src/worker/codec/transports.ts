import type { MessagePort } from 'node:worker_threads';
import type { LinkTransport, Parcel } from './link.js';
import type { Socket } from 'node:net';
import { FrameReader, encodeFrame } from './frames.js';

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

/**
 * The transport between two processes: frames on sockets that only these two know. A channel of Node's own (`process.send`) would be open to whatever
 * the model imports, and one value that can't be read would be the end of it.
 *
 * One socket for each direction: a write to a process that has ended destroys the socket, and what that process has said before is still to be read.
 *
 * @param input Where messages come from.
 * @param output Where they go.
 */
export function socketTransport(input: Socket, output: Socket): LinkTransport {
  // The end of the other side shows as its exit.
  for (const socket of [input, output]) socket.on('error', () => {});
  return {
    canTransfer: false,
    send(parcel) {
      const pieces = encodeFrame(parcel);
      if (!output.writable) return;
      if (pieces.length === 1) {
        output.write(pieces[0] as Buffer);
        return;
      }
      output.cork();
      for (const piece of pieces) output.write(piece);
      output.uncork();
    },
    subscribe(handler, onUnreadable) {
      const reader = new FrameReader((value) => handler(value as Parcel), onUnreadable);
      input.on('data', (chunk: Buffer) => {
        // Something else was written there: without a link the process is of no use, and its parent ends it.
        if (!reader.push(chunk)) input.destroy();
      });
    },
  };
}
