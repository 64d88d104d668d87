import { expect, test } from 'vitest';
import { loadValueCodec } from '../../../src/remote/internal.js';
import { Kind, readMessage, writeMessage } from '../../../src/remote/wire/messages.js';

const codec = await loadValueCodec();

test('readMessage() reads what writeMessage() wrote, and leaves the body as bytes', () => {
  const body = codec.encodeShared({ a: [1, undefined] });
  const bytes = writeMessage(codec, [Kind.Call, 7, 'echo', null, 12.5], body);
  const message = readMessage(codec, bytes);
  expect(message).toMatchObject({ kind: Kind.Call, id: 7, fields: [Kind.Call, 7, 'echo', null, 12.5] });
  expect(codec.decode(message.body)).toStrictEqual({ a: [1, undefined] });
});

test('readMessage() names the version that it does not speak', () => {
  const bytes = writeMessage(codec, [Kind.Who]);
  bytes[0] = 9;
  expect(() => readMessage(codec, bytes)).toThrow(/version 9 of the protocol, this side speaks version 1/);
});

test.each<[string, Uint8Array]>([
  ['an empty message', new Uint8Array(0)],
  ['one of a byte', Uint8Array.of(1)],
  ['a header that is cut off', Uint8Array.of(1, 0, 9, 0x91)],
  ['a header that is no list', Uint8Array.of(1, 0, 1, 0xc0)],
  ['a header without a kind', Uint8Array.of(1, 0, 2, 0x91, 0xa0)],
])('readMessage() refuses %s', (_name, bytes) => {
  expect(() => readMessage(codec, bytes)).toThrow(expect.objectContaining({ code: 'ERR_REMOTE_PROTOCOL' }));
});

test('readMessage() takes an id that is none for that of no call', () => {
  for (const id of [-1, 1.5, 'x', null, undefined]) {
    expect(readMessage(codec, writeMessage(codec, [Kind.Abort, id])).id).toBe(0);
  }
});
