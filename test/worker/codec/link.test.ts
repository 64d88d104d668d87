import { expect, test } from 'vitest';
import { createLink, type Parcel } from '../../../src/worker/codec/link.js';
import { Kind } from '../../../src/worker/codec/link.js';

test('createLink() sends one message as it is and several as a batch, and hands either on as a batch', async () => {
  const sent: Parcel[] = [];
  let arrive: (parcel: Parcel) => void = () => {};
  const link = createLink({
    canTransfer: false,
    send: (parcel) => void sent.push(parcel),
    subscribe: (handler) => {
      arrive = handler;
    },
  });
  link.post([Kind.Ping, 1]);
  link.flush();
  link.post([Kind.Ping, 2]);
  link.post([Kind.Ping, 3]);
  link.flush();
  const [one, several] = [[Kind.Ping, 1] as const, [[Kind.Ping, 2] as const, [Kind.Ping, 3] as const]];
  expect(sent).toEqual([one, several]);
  const received: unknown[] = [];
  link.receive((batch) => received.push(batch));
  for (const parcel of sent) arrive(parcel);
  expect(received).toEqual([[one], several]);
});
