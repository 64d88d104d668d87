import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { describe, expect } from 'vitest';
import { program, testNeeding } from '../../support/needs.js';

const run = promisify(execFile);

describe('bytesFromUrl() over https', { timeout: 60_000 }, () => {
  testNeeding(program('openssl', 'version'))(
    'holds the certificate against the name, not the address that was dialled',
    async () => {
      const folder = await mkdtemp(path.join(tmpdir(), 'millrace-https-'));
      const [key, cert] = [path.join(folder, 'key.pem'), path.join(folder, 'cert.pem')];
      const subject = ['-subj', '/CN=photos.example', '-addext', 'subjectAltName=DNS:photos.example'];
      await run('openssl', [
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-days',
        '2',
        '-keyout',
        key,
        '-out',
        cert,
        ...subject,
      ]);
      const options = { key: await readFile(key), cert: await readFile(cert) };
      const server = createServer(options, (_request, response) => void response.end('PHOTO'));
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as AddressInfo;
      const dist = new URL('../../../dist/image-embedding/sources/', import.meta.url);
      const fetchBy = async (host: string, env: Record<string, string>): Promise<string> => {
        const script = `
        const { bytesFromUrl } = await import(${JSON.stringify(new URL('url-source.js', dist).href)});
        const { resolveImageLimits } = await import(${JSON.stringify(new URL('limits.js', dist).href)});
        const limits = resolveImageLimits({ url: { allowPrivateAddresses: true } }).url;
        const resolveHost = async () => [{ address: '127.0.0.1', family: 4 }];
        const body = bytesFromUrl('https://${host}:${port}/', limits, { resolveHost });
        console.log(await body.then((bytes) => Buffer.from(bytes).toString(), (error) => error.code + ' ' + error.message));`;
        const found = await run(process.execPath, ['--input-type=module', '-e', script], {
          env: { ...process.env, ...env },
        });
        return found.stdout.trim();
      };
      try {
        expect(await fetchBy('photos.example', { NODE_EXTRA_CA_CERTS: cert })).toBe('PHOTO');
        expect(await fetchBy('other.example', { NODE_EXTRA_CA_CERTS: cert })).toMatch(
          /^ERR_URL_FETCH .*ERR_TLS_CERT_ALTNAME_INVALID/,
        );
        expect(await fetchBy('photos.example', {})).toMatch(/^ERR_URL_FETCH .*SELF_SIGNED/);
        expect(await fetchBy('photos.example', { NODE_TLS_REJECT_UNAUTHORIZED: '0' })).toMatch(/^ERR_URL_FETCH/);
      } finally {
        server.closeAllConnections();
        server.close();
        await rm(folder, { recursive: true, force: true });
      }
    },
  );
});
