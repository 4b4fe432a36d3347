// gRPC through the gateway with Python's grpcio, a second implementation: as a client, and as a server.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { freeAddress } from './gateway.mjs';
import { DETAILS, WORDS, ask, grpc, grpcClient, listen, startGrpc } from './grpc.mjs';
import { bearer, openStage } from './stage.mjs';

const PEER = fileURLToPath(new URL('grpc_peer.py', import.meta.url));
let stage, folder;
const started = [];

before(async () => {
  stage = await openStage();
  folder = await mkdtemp(join(tmpdir(), 'scopegate-interop-'));
  const { certificates } = stage;
  for (const name of ['ca', 'cert', 'key']) await writeFile(join(folder, `${name}.pem`), certificates[name]);
});
after(async () => {
  await Promise.all(started.map((one) => one.close()));
  await stage?.close();
  await rm(folder, { recursive: true, force: true });
});

const policy = (url, down) => `
upstreams:
  main: { targets: ['${url}'], protocol: h2${url.startsWith('https') ? ', tls: { ca: ca.pem }' : ''} }
  down: { targets: ['http://${down}'], protocol: h2 }
routes:
  /interop.Echo/**: { upstream: main, POST: orders:read }
  /interop.Echo/Write: { upstream: main, POST: orders:write }
  /interop.Down/**: { upstream: down, POST: orders:read }
`;

/** A gateway in front of the backend; gives what clients connect to. */
async function front(backend) {
  const gateway = await stage.gateway({ tls: true, policy: policy(backend.url, await freeAddress()) });
  return gateway.at('').slice('s://'.length);
}

/** The peer with these arguments; its standard error is shown. */
function peer(...args) {
  const { reader: READER, writer: WRITER } = stage;
  const env = { ...process.env, READER, WRITER, GRPC_VERBOSITY: 'ERROR' };
  return spawn(process.env.GRPC_PYTHON, [PEER, ...args], { env, stdio: ['pipe', 'pipe', 'pipe'] });
}

async function startPeer(secured) {
  const files = secured ? [join(folder, 'cert.pem'), join(folder, 'key.pem')] : [];
  const child = peer('serve', ...files);
  child.stderr.pipe(process.stderr);
  const [port] = await once(child.stdout.setEncoding('utf8'), 'data');
  const close = async () => {
    child.stdin.end();
    await once(child, 'exit');
  };
  started.push({ close });
  return { url: `${secured ? 'https://localhost' : 'http://127.0.0.1'}:${Number(port)}` };
}

/** All that the peer checks as a client. */
async function peerCalls(target) {
  const child = peer('call', target, join(folder, 'ca.pem'));
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { said += text; });
  const [code] = await once(child, 'close');
  assert.equal(code, 0, said);
  return said.split('\n').filter((line) => line.startsWith('Ran')).join();
}

test('grpcio calls grpc-js', { timeout: 120_000 }, async (t) => {
  const backend = await startGrpc();
  started.push(backend);
  t.diagnostic(await peerCalls(await front(backend)));
  assert.ok(backend.seen.every(({ metadata }) => metadata.get('authorization').length === 0));
});

test('grpcio calls grpcio, over TLS', { timeout: 120_000 }, async (t) => {
  t.diagnostic(await peerCalls(await front(await startPeer(true))));
});

test('grpc-js calls grpcio', { timeout: 60_000 }, async () => {
  const client = grpcClient(await front(await startPeer(false)), stage.certificates.ca);
  const metadata = new grpc.Metadata();
  metadata.set('authorization', bearer(stage.reader).authorization);
  metadata.set('x-own-bin', Buffer.from([0, 255]));
  const answer = await ask(client, 'Unary', Buffer.alloc(1 << 20, 7), metadata);
  assert.deepEqual([answer.code, answer.body.length], [0, 1 << 20]);
  assert.deepEqual(answer.head.get('x-own-bin'), [Buffer.from([0, 255])]);
  assert.deepEqual(answer.status.metadata.get('x-trailer'), ['the end']);
  const counted = await listen(client.Count({ body: Buffer.from('1000') }, metadata));
  assert.deepEqual([counted.code, counted.notes.length], [0, 1000]);
  for (const failed of [
    await ask(client, 'FailAtOnce', Buffer.from('5'), metadata),
    await listen(client.Fail({ body: Buffer.from('5 after 3') }, metadata)),
  ]) {
    assert.deepEqual([failed.code, failed.status.details], [5, `status 5: ${WORDS}`]);
    assert.deepEqual(failed.status.metadata.get('grpc-status-details-bin'), [DETAILS]);
  }
  assert.equal((await ask(client, 'Absent', Buffer.from('x'), metadata)).code, 12);
  const refused = await ask(client, 'Unary', Buffer.from('x'), new grpc.Metadata());
  assert.equal(refused.code, 16);
  client.close();
});
