// Certificates of an authority that lives as long as a test.

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** An authority, and the certificate and key of a server at localhost, all PEM. */
export async function newCertificates() {
  const folder = await mkdtemp(join(tmpdir(), 'scopegate-interop-'));
  const openssl = (...args) => run('openssl', ['req', '-x509', '-nodes', '-days', '2', ...KEY, ...args], { cwd: folder });
  try {
    await openssl('-subj', '/CN=interop authority', '-keyout', 'ca.key', '-out', 'ca.pem');
    await openssl('-subj', '/CN=localhost', '-keyout', 'key.pem', '-out', 'cert.pem', ...SIGNED, ...LEAF);
    const read = (name) => readFile(join(folder, name), 'utf8');
    return { ca: await read('ca.pem'), cert: await read('cert.pem'), key: await read('key.pem') };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
const SIGNED = ['-CA', 'ca.pem', '-CAkey', 'ca.key'];
const LEAF = ['basicConstraints=critical,CA:FALSE', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  .flatMap((extension) => ['-addext', extension]);
