import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import {
  type Check,
  describeThrown,
  faultOf,
  fillOptions,
  group,
  type OptionTable,
  option,
  positiveIntegerUpTo,
  requireString,
} from '../core/index.js';
import { type ClientPackage, loadClient } from './client-package.js';
import { NatsConnectionError } from './errors.js';
import { Nats } from './nats.js';
import type { NatsConnectionLike } from './nats-connection.js';

/** The files of a TLS connection, in PEM. */
export interface NatsTlsOptions {
  /** The certificate of the authority that signed the server's; the system's authorities by default. */
  readonly caFile?: string | undefined;
  /** This client's certificate. */
  readonly certFile?: string | undefined;
  /** The key of this client's certificate. */
  readonly keyFile?: string | undefined;
}

/** Options of {@link connectNats}. */
export interface ConnectNatsOptions {
  /** One server or all of a cluster, such as `nats://queue:4222`. `nats://127.0.0.1:4222` by default. */
  readonly servers?: string | readonly string[] | undefined;
  /** The name of this client in the server's list of connections. */
  readonly name?: string | undefined;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly token?: string | undefined;
  /** A file of credentials, as `nsc` writes it. */
  readonly credentialsFile?: string | undefined;
  /** A file that holds an nkey seed. */
  readonly nkeyFile?: string | undefined;
  /** TLS; without it, TLS is used where the server asks for it. */
  readonly tls?: NatsTlsOptions | undefined;
  /** The first part of the subjects that answers come to; a random one by default. Set it where the server's rights name it. */
  readonly inboxPrefix?: string | undefined;
  /** How long the first connection may take, in ms; 5,000 by default. */
  readonly timeoutMs?: number | undefined;
  /** A connection of the program's own, used instead of a new one. It is not closed with the result. */
  readonly connection?: NatsConnectionLike | undefined;
}

const text: Check<string> = (action, name, value) => requireString(action, name, value);

const serverList: Check<string | readonly string[]> = (action, name, value) => {
  const list = Array.isArray(value) ? value : [value];
  if (list.length === 0) throw faultOf(action, name, 'at least one server', value);
  for (const each of list) requireString(action, name, each);
  return list as readonly string[];
};

const connectionLike: Check<NatsConnectionLike> = (action, name, value) => {
  const isOne =
    typeof value === 'object' &&
    value !== null &&
    ['publish', 'subscribe', 'request', 'status'].every((key) => key in value);
  if (!isOne) throw faultOf(action, name, 'a NATS connection', value);
  return value as NatsConnectionLike;
};

const TLS_OPTIONS = {
  caFile: option(text),
  certFile: option(text),
  keyFile: option(text),
} satisfies OptionTable<NatsTlsOptions>;

const CONNECT_OPTIONS = {
  servers: option(serverList, 'nats://127.0.0.1:4222'),
  name: option(text, 'millrace'),
  user: option(text),
  password: option(text),
  token: option(text),
  credentialsFile: option(text),
  nkeyFile: option(text),
  tls: option<NatsTlsOptions>(group(TLS_OPTIONS).check),
  inboxPrefix: option(text),
  timeoutMs: option(positiveIntegerUpTo(600_000), 5_000),
  connection: option(connectionLike),
} satisfies OptionTable<ConnectNatsOptions>;

/** How a connection outlives its server, and finds out within 3 s that a stopped one does not answer. */
const LASTING = {
  maxReconnectAttempts: -1,
  reconnectTimeWait: 100,
  reconnectJitter: 100,
  reconnectJitterTLS: 400,
  pingInterval: 1_000,
  maxPingOut: 2,
  // Without it, two refusals in a row by a server that is just being configured would end the connection.
  ignoreAuthErrorAbort: true,
  noAsyncTraces: true,
} as const;

/** The waits between attempts to reconnect rise to this, in ms. */
const MAX_WAIT_MS = 2_000;

/**
 * Connects to a NATS server, with settings that survive outages: it reconnects for as long as it takes, after 100 ms at first and 2 s at most, and a
 * server that has stopped answering is left after 3 s. Needs the package `@nats-io/transport-node`, which is loaded when this is called.
 *
 * **Cancel safety:** takes no signal; `timeoutMs` limits the first connection.
 *
 * @param options See {@link ConnectNatsOptions}; unknown keys are refused.
 * @returns The connection. `await using` closes it.
 * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown.
 * @throws NatsConnectionError When no server could be reached, or it refused this client.
 * @throws MissingPackageError When `@nats-io/transport-node` is not installed.
 */
export async function connectNats(options?: ConnectNatsOptions): Promise<Nats> {
  const settings = fillOptions('Cannot connect to NATS', options, CONNECT_OPTIONS);
  const client = await loadClient();
  if (settings.connection !== undefined) return new Nats(client, settings.connection, false);
  const { servers, name, user, password, token, inboxPrefix, timeoutMs, tls } = settings;
  let lostAt: number | undefined;
  try {
    const connection = await client.connect({
      ...LASTING,
      // By time, not by attempt: the client asks for it again and again while it waits.
      reconnectDelayHandler: () => {
        const lostForMs = lostAt === undefined ? 0 : performance.now() - lostAt;
        return Math.min(MAX_WAIT_MS, Math.max(100, lostForMs / 4)) * (0.75 + Math.random() / 2);
      },
      servers: typeof servers === 'string' ? [servers] : [...servers],
      name,
      timeout: timeoutMs,
      inboxPrefix: inboxPrefix ?? `_INBOX.${randomBytes(9).toString('hex')}`,
      ...(user === undefined ? {} : { user }),
      ...(password === undefined ? {} : { pass: password }),
      ...(token === undefined ? {} : { token }),
      ...(tls === undefined ? {} : { tls: withoutUndefined(tls) }),
      ...(await authenticator(client, settings)),
    });
    const nats = new Nats(client, connection, true);
    nats.onDisconnect(() => {
      lostAt = performance.now();
    });
    nats.onReconnect(() => {
      lostAt = undefined;
    });
    return nats;
  } catch (error) {
    const where = typeof servers === 'string' ? servers : servers.join(', ');
    throw new NatsConnectionError(
      `Cannot connect to NATS at ${withoutPassword(where)}: ${describeThrown(error).message}`,
      {
        cause: error,
      },
    );
  }
}

async function authenticator(
  client: ClientPackage,
  {
    credentialsFile,
    nkeyFile,
  }: { readonly credentialsFile: string | undefined; readonly nkeyFile: string | undefined },
): Promise<object> {
  if (credentialsFile !== undefined) {
    return { authenticator: client.credsAuthenticator(await readFile(credentialsFile)) };
  }
  if (nkeyFile === undefined) return {};
  const seed = (await readFile(nkeyFile, 'utf8')).trim();
  return { authenticator: client.nkeyAuthenticator(Buffer.from(seed)) };
}

/** An address may hold a user and a password. */
function withoutPassword(servers: string): string {
  return servers.replace(/\/\/[^@/,\s]*@/g, '//');
}

function withoutUndefined(options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
