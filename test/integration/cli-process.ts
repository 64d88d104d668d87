/** The real command in a process of its own, as a user starts it. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { type EmbedRecord, parseRecord } from '../../src/cli/output/record.js';

export const ROOT: string = fileURLToPath(new URL('../../', import.meta.url));
export const PHOTOS: string = path.join(ROOT, 'examples', 'photos');
export const MAIN: string = path.join(ROOT, 'dist', 'cli', 'main.js');

/** How a process ended, and what it said. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A process that was started. */
export interface Running {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly ended: Promise<Ended>;
  /** What it has said so far. */
  said(): string;
}

/** How it is started. */
export interface StartOptions {
  readonly cwd?: string;
  readonly stdin?: string | Uint8Array;
  /** Leaves standard input open, for a test to write to. */
  readonly isStdinOpen?: boolean;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** In a process group of its own, to be signalled as a terminal does. */
  readonly ownGroup?: boolean;
}

/** Starts the command. */
export function startCli(args: readonly string[], options: StartOptions = {}): Running {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: options.cwd ?? ROOT,
    env: { ...process.env, ...options.env },
    detached: options.ownGroup ?? false,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stdin.on('error', () => {});
  if (!options.isStdinOpen) child.stdin.end(options.stdin ?? '');
  return follow(child);
}

/** Runs any program to its end, without standard input. */
export function runProgram(words: readonly string[], options: SpawnOptions = {}): Promise<Ended> {
  const [program, ...args] = words as [string, ...string[]];
  return follow(spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })).ended;
}

function follow(child: ChildProcess & { readonly stdout: Readable; readonly stderr: Readable }): Running {
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
  return { child, pid: child.pid as number, ended, said: () => stdout + stderr };
}

/** Runs the command to its end. */
export function runCli(args: readonly string[], options: StartOptions = {}): Promise<Ended> {
  return startCli(args, options).ended;
}

/** The records of an output. */
export async function readRecords(file: string): Promise<EmbedRecord[]> {
  const text = await readFile(file, 'utf8');
  if (!text.endsWith('\n')) throw new Error(`${file} ends in a torn line`);
  return text
    .trimEnd()
    .split('\n')
    .map((line) => {
      const record = parseRecord(line);
      if (record === undefined) throw new Error(`not a record: ${line.slice(0, 100)}`);
      return record;
    });
}

/** How many whole lines a file has so far. */
export async function countLines(file: string): Promise<number> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text.split('\n').length - 1;
}
