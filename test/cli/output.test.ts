import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, mkdir, open, readdir, readFile, readlink, symlink, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ClosedPipeError, OutputTakenError, UsageError } from '../../src/cli/errors.js';
import { JsonlFileWriter, JsonlStreamWriter } from '../../src/cli/output/jsonl-writer.js';
import { lockOutput } from '../../src/cli/output/output-lock.js';
import { type EmbedRecord, formatFloat32, formatRecord, parseRecord } from '../../src/cli/output/record.js';
import { linkTarget, ReplacingFile } from '../../src/cli/output/replacing-file.js';
import { dropErrors, readHeldOutput } from '../../src/cli/output/resume.js';
import { tempFolder } from '../support/temp-folder.js';

const at = tempFolder('output ü');

const good: EmbedRecord = { path: 'a b/ü.jpg', embedding: Float32Array.of(0.1, -0.25, 0) };
const bad: EmbedRecord = { path: 'x\n.jpg', error: { code: 'ERR_IMAGE_CORRUPT', message: 'no "image"' } };

describe('formatRecord()', () => {
  test('gives the documented line', () => {
    expect(formatRecord(good)).toBe('{"path":"a b/ü.jpg","dim":3,"embedding":[0.1,-0.25,0]}');
    expect(formatRecord(bad)).toBe(
      '{"path":"x\\n.jpg","error":{"code":"ERR_IMAGE_CORRUPT","message":"no \\"image\\""}}',
    );
  });

  test('is read back by parseRecord()', () => {
    for (const record of [good, bad]) expect(parseRecord(formatRecord(record))).toEqual(record);
  });

  test.each(['', '{', 'null', '[]', '{"path":1}', '{"path":"a","dim":2,"embedding":[1]}', '{"path":"a","error":{}}'])(
    'parseRecord() finds no record in %j',
    (line) => expect(parseRecord(line)).toBeUndefined(),
  );
});

test('formatFloat32() gives back the same float32, in at most nine digits', () => {
  fc.assert(
    fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (value) => {
      const text = formatFloat32(value);
      expect(Math.fround(Number(text))).toBe(value === 0 ? 0 : value);
      expect(text.replace(/e.*$/, '').replace(/^-?0?\.?0*|[.-]|0+$/g, '').length).toBeLessThanOrEqual(9);
    }),
  );
});

describe('JsonlFileWriter', () => {
  test('leaves the file to the run that began later, whose lines stay whole', async () => {
    const file = at('shared.jsonl');
    await writeFile(file, '');
    const first = await JsonlFileWriter.open(file);
    const second = await JsonlFileWriter.open(file);
    await first.write(good);
    await first.write(good);
    await second.write(bad);
    await expect(first.write(good)).rejects.toBeInstanceOf(OutputTakenError);
    await second.write(good);
    await first.close();
    await second.close();
    expect(await readFile(file, 'utf8')).toBe(`${formatRecord(bad)}\n${formatRecord(good)}\n`);
  });

  test('appends whole lines, in the order of the calls', async () => {
    const file = at('order.jsonl');
    const writer = await JsonlFileWriter.open(file);
    for (let index = 0; index < 20; index++) await writer.write({ ...good, path: `${index}` });
    await writer.close();
    const paths = (await readFile(file, 'utf8'))
      .trimEnd()
      .split('\n')
      .map((line) => parseRecord(line)?.path);
    expect(paths).toEqual(Array.from({ length: 20 }, (_, index) => `${index}`));
  });

  test('keeps what a file holds until the first record', async () => {
    const file = at('kept.jsonl');
    await writeFile(file, 'precious\n');
    const unused = await JsonlFileWriter.open(file);
    await unused.close();
    expect(await readFile(file, 'utf8')).toBe('precious\n');
    const writer = await JsonlFileWriter.open(file);
    await writer.write(good);
    await writer.close();
    expect(await readFile(file, 'utf8')).toBe(`${formatRecord(good)}\n`);
  });

  test('makes no file before the first record', async () => {
    const file = at('unmade.jsonl');
    await (await JsonlFileWriter.open(file)).close();
    await expect(access(file)).rejects.toThrow('ENOENT');
    const both = [await JsonlFileWriter.open(file), await JsonlFileWriter.open(file)];
    await both[0]?.write(good);
    await expect(both[1]?.write(bad)).rejects.toBeInstanceOf(OutputTakenError);
    for (const each of both) await each.close();
    expect(await readFile(file, 'utf8')).toBe(`${formatRecord(good)}\n`);
  });

  test('goes on behind the bytes it is told to keep', async () => {
    const file = at('torn.jsonl');
    const line = `${formatRecord(good)}\n`;
    await writeFile(file, `${line}{"path":"b","dim":3,"embe`);
    const held = await readHeldOutput(file);
    expect(held).toMatchObject({ bytes: Buffer.byteLength(line), isTorn: true, failed: 0, dimension: 3 });
    expect([...held.paths]).toEqual(['a b/ü.jpg']);
    const writer = await JsonlFileWriter.open(file, held.bytes);
    await writer.write(bad);
    await writer.close();
    expect(await readFile(file, 'utf8')).toBe(`${line}${formatRecord(bad)}\n`);
  });

  test('writes into a pipe, and ends quietly when its reader has gone', async () => {
    const pipe = at('pipe.jsonl');
    await promisify(execFile)('mkfifo', [pipe]);
    const reader = await open(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
    const writer = await JsonlFileWriter.open(pipe);
    await writer.write(good);
    await writer.write(bad);
    const bytes = Buffer.alloc(1_000);
    const { bytesRead } = await reader.read(bytes);
    expect(bytes.toString('utf8', 0, bytesRead)).toBe(`${formatRecord(good)}\n${formatRecord(bad)}\n`);
    await reader.close();
    await expect(writer.write(good)).rejects.toBeInstanceOf(ClosedPipeError);
    await writer.close();
  });

  test('makes the file that a link leads to', async () => {
    const file = at('link.jsonl');
    await symlink('linked.jsonl', file);
    const writer = await JsonlFileWriter.open(file);
    await writer.write(good);
    await writer.close();
    expect(await readFile(at('linked.jsonl'), 'utf8')).toBe(`${formatRecord(good)}\n`);
  });

  test('makes or replaces the file that a link leads to, in formats that are written as a whole, and leaves the link', async () => {
    const inner = at('inner');
    await mkdir(inner);
    await symlink(path.join('inner', 'second.npy'), at('first.npy'));
    await symlink('file.npy', path.join(inner, 'second.npy'));
    for (const text of ['new', 'newer']) {
      const file = await ReplacingFile.open(at('first.npy'));
      await file.append(Buffer.from(text));
      expect((await readdir(inner)).sort()).toContain('file.npy.partial');
      await file.commit();
      expect(await readFile(path.join(inner, 'file.npy'), 'utf8')).toBe(text);
    }
    expect((await readdir(inner)).sort()).toEqual(['file.npy', 'second.npy']);
    expect(await readlink(path.join(inner, 'second.npy'))).toBe('file.npy');
    await symlink('circle.npy', at('circle.npy'));
    const { code } = (await linkTarget(at('circle.npy'))
      .then(readFile)
      .catch((error: unknown) => error)) as { code: string };
    expect(code).toBe('ELOOP');
  });

  test.each([
    ['missing/out.jsonl', /its folder does not exist: .*missing/],
    ['.', /it is a folder/],
    ['file/out.jsonl', /its folder is a file/],
  ])('refuses %s with the reason', async (name, reason) => {
    await writeFile(at('file'), '');
    const opening = JsonlFileWriter.open(at(name));
    await expect(opening).rejects.toThrow(reason);
    await expect(opening).rejects.toBeInstanceOf(UsageError);
  });
});

describe('lockOutput()', () => {
  test('refuses a second run until the first gives it back', async () => {
    const lock = await lockOutput(at('locked.npy'));
    const refused = lockOutput(at('locked.npy'));
    await expect(refused).rejects.toBeInstanceOf(UsageError);
    await expect(refused).rejects.toThrow(`another run (process ${process.pid} on ${hostname()}) is writing it`);
    await lock?.release();
    const next = await lockOutput(at('locked.npy'));
    expect(next).toBeDefined();
    await next?.release();
    expect((await readdir(at())).filter((each) => each.startsWith('locked'))).toEqual([]);
  });

  test('knows the output by any of its names', async () => {
    await writeFile(at('real.jsonl'), '');
    await symlink('real.jsonl', at('alias.jsonl'));
    const lock = await lockOutput(at('real.jsonl'));
    await expect(lockOutput(at('alias.jsonl'))).rejects.toBeInstanceOf(UsageError);
    await lock?.release();
  });

  test('says what it knows of a lock that names nobody', async () => {
    await writeFile(at('odd.npy.lock'), '');
    await expect(lockOutput(at('odd.npy'))).rejects.toThrow(
      /another run is writing it; if there is none, remove .*odd\.npy\.lock/,
    );
  });

  describe('of a run elsewhere, of which only the age of its lock is known', () => {
    const leave = async (name: string, ageMs: number): Promise<string> => {
      const file = at(`${name}.lock`);
      await writeFile(file, JSON.stringify({ pid: 1, host: 'elsewhere', machine: 'elsewhere pid:[1]', start: '1' }));
      await touch(file, ageMs);
      return file;
    };
    const touch = async (file: string, ageMs: number): Promise<void> => {
      const then = new Date(Date.now() - ageMs);
      await utimes(file, then, then);
    };

    test('refuses it at once, and says how long it takes', async () => {
      await leave('refused.jsonl', 10_000);
      const refused = lockOutput(at('refused.jsonl'));
      await expect(refused).rejects.toThrow(
        /process 1 on elsewhere\) is writing it; .*or wait 30 s: it is then taken over/,
      );
    });

    test('takes it over without a sign of life, once it has waited and said so', async () => {
      await leave('killed.jsonl', 29_000);
      const said: string[] = [];
      const lock = await lockOutput(at('killed.jsonl'), { isPatient: true, onWait: (text) => said.push(text) });
      expect(lock).toBeDefined();
      await lock?.release();
      expect(said).toHaveLength(1);
      expect(said[0]).toMatch(/^waiting up to \d s: .*process 1 on elsewhere\), which may have been killed/);
    });

    test('gives up when it is touched meanwhile: the run lives', async () => {
      const file = await leave('alive.jsonl', 20_000);
      const refused = lockOutput(at('alive.jsonl'), { isPatient: true, onWait: () => void touch(file, 0) });
      await expect(refused).rejects.toBeInstanceOf(UsageError);
    });
  });

  test('locks nothing that is no file, and nothing in a folder that is not there', async () => {
    expect(await lockOutput('/dev/null')).toBeUndefined();
    expect(await lockOutput(at('missing/a.npy'))).toBeUndefined();
  });
});

describe('dropErrors()', () => {
  test('takes out errors and the torn end, and leaves every other line as it is', async () => {
    const file = at('retry.jsonl');
    const line = formatRecord(good);
    await writeFile(file, `${line}\n${formatRecord(bad)}\n${line.replace('a b', 'c')}\n{"path"`);
    await dropErrors(file);
    expect(await readFile(file, 'utf8')).toBe(`${line}\n${line.replace('a b', 'c')}\n`);
    expect((await readdir(at())).filter((each) => each.endsWith('.partial'))).toEqual([]);
  });
});

describe('readHeldOutput()', () => {
  test('holds nothing where there is no file', async () => {
    expect(await readHeldOutput(at('none.jsonl'))).toMatchObject({ bytes: 0, isTorn: false });
  });

  test('reads what was cut at any byte, and never loses a whole line', async () => {
    const file = at('cut.jsonl');
    const text = Buffer.from(
      [good, bad, { ...good, path: '猫' }].map((record) => `${formatRecord(record)}\n`).join(''),
    );
    for (let cut = 0; cut <= text.length; cut++) {
      await writeFile(file, text.subarray(0, cut));
      const held = await readHeldOutput(file);
      const whole = text.subarray(0, cut).lastIndexOf(10) + 1;
      expect([held.bytes, held.isTorn]).toEqual([whole, whole < cut]);
    }
  });

  test('leaves a file alone that is something else', async () => {
    const file = at('other.jsonl');
    await writeFile(file, `${formatRecord(good)}\nhello\n`);
    await expect(readHeldOutput(file)).rejects.toThrow(/line 2 is not a record of 'millrace embed'/);
  });

  test('refuses vectors of two dimensions', async () => {
    const file = at('two.jsonl');
    await writeFile(file, `${formatRecord(good)}\n${formatRecord({ path: 'b', embedding: Float32Array.of(1) })}\n`);
    await expect(readHeldOutput(file)).rejects.toThrow(/line 2 has 1 dimensions, those before it 3/);
  });
});

describe('JsonlStreamWriter', () => {
  test('waits for a slow reader', async () => {
    const stream = new PassThrough({ highWaterMark: 1 });
    const writer = new JsonlStreamWriter(stream);
    let isWritten = false;
    const writing = writer
      .write(good)
      .then(() => writer.write(good))
      .then(() => {
        isWritten = true;
      });
    await new Promise((resolve) => setImmediate(resolve));
    expect(isWritten).toBe(false);
    stream.resume();
    await writing;
  });

  test('tells that the reader has gone', async () => {
    const stream = new Writable({
      write: (_chunk, _encoding, done) => done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })),
    });
    const writer = new JsonlStreamWriter(stream);
    await expect(writer.write(good)).rejects.toBeInstanceOf(ClosedPipeError);
    await expect(writer.write(good)).rejects.toBeInstanceOf(ClosedPipeError);
  });
});
