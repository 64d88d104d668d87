/** The options of commands that talk to a NATS server, and the connection that they describe. */
import type { Command } from 'commander';
import type { ConnectNatsOptions, Nats } from '../../nats/index.js';
import { describeFailure, errorCode, UsageError } from '../errors.js';

/** The options of {@link addServerOptions}. */
export interface ServerOptions {
  readonly server?: string;
  readonly creds?: string;
  readonly nkey?: string;
  readonly tlsCa?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly inboxPrefix?: string;
}

/** Adds `--server` and what a server may ask of its clients. */
export function addServerOptions(command: Command): Command {
  return command
    .option(
      '-s, --server <url>',
      'the NATS server, or several with commas (default: NATS_URL, else nats://127.0.0.1:4222)',
    )
    .option('--creds <file>', 'a file of credentials, as nsc writes it')
    .option('--nkey <file>', 'a file that holds an nkey seed')
    .option('--tls-ca <file>', "the certificate of the authority that signed the server's")
    .option('--tls-cert <file>', "this client's certificate")
    .option('--tls-key <file>', "the key of this client's certificate")
    .option('--inbox-prefix <prefix>', 'the subjects for answers, where the rights of the user name them');
}

/** The options of a connection. */
export function connectionOptions(options: ServerOptions): ConnectNatsOptions {
  const servers = (options.server ?? process.env.NATS_URL ?? '').split(',').filter((each) => each !== '');
  const { creds, nkey, tlsCa, tlsCert, tlsKey, inboxPrefix } = options;
  const hasTls = tlsCa !== undefined || tlsCert !== undefined || tlsKey !== undefined;
  return {
    ...(servers.length === 0 ? {} : { servers: servers.map(withoutUser) }),
    ...(creds === undefined ? {} : { credentialsFile: creds }),
    ...(nkey === undefined ? {} : { nkeyFile: nkey }),
    ...(hasTls ? { tls: { caFile: tlsCa, certFile: tlsCert, keyFile: tlsKey } } : {}),
    ...(inboxPrefix === undefined ? {} : { inboxPrefix }),
    ...userOf(servers[0]),
  };
}

/** Connects. @throws UsageError when there is no server, or it refuses this client. */
export async function connectToServer(options: ServerOptions): Promise<Nats> {
  const { connectNats } = await import('../../nats/index.js');
  try {
    return await connectNats(connectionOptions(options));
  } catch (error) {
    if (errorCode(error) !== 'ERR_NATS_CONNECTION') throw error;
    throw new UsageError(`${errorCode(error)}: ${describeFailure(error)}`, { cause: error });
  }
}

/** An address as the client takes it: without the user, which goes apart. */
function withoutUser(server: string): string {
  return server.replace(/\/\/[^@/]*@/, '//');
}

function userOf(server: string | undefined): ConnectNatsOptions {
  const [, given] = /\/\/([^@/]*)@/.exec(server ?? '') ?? [];
  if (given === undefined) return {};
  const [user = '', password] = given.split(':').map(decodeURIComponent);
  return password === undefined ? { token: user } : { user, password };
}
