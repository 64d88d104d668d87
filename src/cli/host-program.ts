/** The arguments of `millrace host` and `millrace hosts`. */
import type { Command } from 'commander';
import type { CommandContext } from './command/context.js';
import type { HostCommandOptions, HostsCommandOptions } from './command/host.js';
import { addServerOptions } from './command/nats-server.js';
import { addModelOptions, countUpTo } from './command/options.js';
import type { ExitCode } from './errors.js';

/** Adds `host` and `hosts`. `codes` renders the exit codes for a help. */
export function addHostCommands(
  context: CommandContext,
  subcommand: (name: string, description: string, codes: string) => Command,
  finish: (code: ExitCode) => void,
  codes: (meanings: Readonly<Record<number, string>>) => string,
): void {
  const hostCodes = codes({
    0: 'stopped, and every accepted call is answered',
    2: 'wrong usage, no server, or a model that cannot be used',
    130: 'stopped at once',
  });
  const host = subcommand('host', 'Embed pictures for callers on other machines, through a NATS server.', hostCodes)
    .option('--service <name>', 'the name under which callers find it', 'images')
    .option('--name <name>', "this host's own name (default: a random one)")
    .option('-m, --model <model>', 'a model folder, or a name on the hub (default: the built-in one)')
    .option('-w, --workers <n>', 'how many worker processes', countUpTo(256))
    .option('--allow-urls', 'fetch URLs for callers')
    .option('--allow-private-urls', 'with --allow-urls: from private and local addresses too');
  addModelOptions(host);
  addServerOptions(host).action(async (options: HostCommandOptions) => {
    const { hostCommand } = await import('./command/host.js');
    finish(await hostCommand(context, options));
  });

  const hostsCodes = codes({ 0: 'at least one host has answered', 1: 'none has', 2: 'wrong usage, or no server' });
  const hosts = subcommand('hosts', 'List the hosts of a service, and how busy they are.', hostsCodes)
    .option('--service <name>', 'the service', 'images')
    .option('--wait <ms>', 'how long answers may take, in ms', countUpTo(60_000), 1_000)
    .option('--json', 'print JSON');
  addServerOptions(hosts).action(async (options: HostsCommandOptions) => {
    const { hostsCommand } = await import('./command/host.js');
    finish(await hostsCommand(context, options));
  });
}
