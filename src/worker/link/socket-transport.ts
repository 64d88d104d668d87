import type { Socket } from 'node:net';
import { encodeFrame, FrameReader } from './frames.js';
import type { LinkTransport, Parcel } from './link.js';

/**
 * The transport between two processes: frames on a socket that nobody else knows of. A channel of Node's own (`process.send`) would be open to whatever
 * the model imports, and one value that can't be read would be the end of it.
 */
export function socketTransport(socket: Socket): LinkTransport {
  // The end of the other side shows as its exit.
  socket.on('error', () => {});
  return {
    canTransfer: false,
    send(parcel) {
      const pieces = encodeFrame(parcel);
      if (!socket.writable) return;
      if (pieces.length === 1) {
        socket.write(pieces[0] as Buffer);
        return;
      }
      socket.cork();
      for (const piece of pieces) socket.write(piece);
      socket.uncork();
    },
    subscribe(handler, onUnreadable) {
      const reader = new FrameReader((value) => handler(value as Parcel), onUnreadable);
      socket.on('data', (chunk: Buffer) => reader.push(chunk));
    },
  };
}
