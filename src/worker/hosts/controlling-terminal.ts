import { readFileSync } from 'node:fs';

let known: boolean | undefined;

/**
 * Whether a terminal can send this process signals: Ctrl-C reaches the whole foreground group, also where all three standard streams are redirected.
 * Linux tells in a kernel file, which is read once, beside a fork, which is synchronous itself. Where the system does not tell, it is assumed.
 */
export function hasControllingTerminal(): boolean {
  known ??= readTerminal();
  return known;
}

function readTerminal(): boolean {
  if (process.platform !== 'linux') return true;
  try {
    const stat = readFileSync('/proc/self/stat', 'utf8');
    // The name of the program, in parentheses, may have blanks in it. Then: state, parent, group, session, terminal.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[4] !== '0';
  } catch {
    return true;
  }
}
