import { MissingPackageError } from '../pool/index.js';
import type { NatsConnectionLike, NatsHeadersLike } from './nats-connection.js';

/** The part of `@nats-io/transport-node` that is used. */
export interface ClientPackage {
  connect(options: object): Promise<NatsConnectionLike>;
  headers(): NatsHeadersLike;
  credsAuthenticator(credentials: Uint8Array): unknown;
  nkeyAuthenticator(seed: Uint8Array): unknown;
}

/** Loads the client. @throws MissingPackageError When it is not installed. */
export async function loadClient(): Promise<ClientPackage> {
  try {
    return (await import('@nats-io/transport-node')) as unknown as ClientPackage;
  } catch (error) {
    throw new MissingPackageError(
      'Cannot connect to NATS: the optional package @nats-io/transport-node is not installed, install it with npm install @nats-io/transport-node',
      { cause: error },
    );
  }
}
