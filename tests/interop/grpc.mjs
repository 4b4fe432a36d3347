// gRPC: the service of echo.proto, a server and clients, all of them npm's grpc-js.

import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const PROTO = fileURLToPath(new URL('echo.proto', import.meta.url));
const { interop } = grpc.loadPackageDefinition(loadSync(PROTO));

/** Bytes, which are more than any limit of the libraries' own. */
const LARGE = 64 << 20;
const OPTIONS = { 'grpc.max_receive_message_length': LARGE, 'grpc.max_send_message_length': LARGE };

/** Starts the server; `seen` holds the metadata of each call, `cancelled` the names of those that were. */
export async function startGrpc({ port = 0, certificates } = {}) {
  const seen = [];
  const cancelled = [];
  const server = new grpc.Server({ ...OPTIONS, 'grpc-node.max_session_memory': LARGE });
  server.addService(serviceWithout('Absent'), implementation((call, name) => {
    seen.push({ name, metadata: call.metadata, deadline: call.getDeadline() });
    call.on('cancelled', () => cancelled.push(name));
  }));
  const credentials = certificates
    ? grpc.ServerCredentials.createSsl(null, [pair(certificates)])
    : grpc.ServerCredentials.createInsecure();
  const bound = await promisify(server.bindAsync.bind(server))(`127.0.0.1:${port}`, credentials);
  const scheme = certificates ? 'https://localhost' : 'http://127.0.0.1';
  return { url: `${scheme}:${bound}`, port: bound, seen, cancelled, server, close: async () => server.forceShutdown() };
}

function pair({ cert, key }) {
  return { cert_chain: Buffer.from(cert), private_key: Buffer.from(key) };
}

function serviceWithout(name) {
  const { [name]: _, ...rest } = interop.Echo.service;
  return rest;
}

function implementation(note) {
  const noting = (name, answer) => (call, callback) => {
    note(call, name);
    return answer(call, callback);
  };
  const echo = (call, callback) => {
    call.sendMetadata(echoed(call.metadata));
    callback(null, call.request, trailer('x-trailer', 'the end'));
  };
  const answers = {
    Unary: echo,
    Write: echo,
    Count: async (call) => {
      const count = Number(call.request.body);
      for (let n = 0; n < count && !call.cancelled; n += 1) {
        if (!call.write({ body: Buffer.from(`${n}`) })) await drained(call);
      }
      call.end(trailer('x-count', `${count}`));
    },
    Sum: (call, callback) => {
      let [notes, bytes] = [0, 0];
      call.on('data', ({ body }) => { notes += 1; bytes += body.length; });
      call.on('end', () => callback(null, { body: Buffer.from(`${notes} notes, ${bytes} bytes`) }));
      call.on('error', () => {});
    },
    Chat: (call) => {
      call.on('data', (message) => call.write(message));
      call.on('end', () => call.end(trailer('x-trailer', 'bye')));
      call.on('error', () => {});
    },
    Hang: () => {},
    HangStream: (call) => { call.write({ body: Buffer.from('first') }); },
    Fail: (call) => {
      const [code, after = 0] = String(call.request.body).split(' after ').map(Number);
      for (let n = 0; n < after; n += 1) call.write({ body: Buffer.from(`${n}`) });
      call.emit('error', failure(code));
    },
    FailAtOnce: (call, callback) => callback(failure(Number(call.request.body))),
  };
  return Object.fromEntries(Object.entries(answers).map(([name, answer]) => [name, noting(name, answer)]));
}

/** What a client sent under names of its own comes back. */
function echoed(metadata) {
  const back = new grpc.Metadata();
  for (const name of Object.keys(metadata.getMap()).filter((name) => name.startsWith('x-own'))) {
    for (const value of metadata.get(name)) back.add(name, value);
  }
  return back;
}

/** Metadata of one entry. */
export function trailer(name, value) {
  const metadata = new grpc.Metadata();
  metadata.set(name, value);
  return metadata;
}

/** The details of each failure: what google.rpc.Status would be, for whoever knows it. */
export const DETAILS = Buffer.from([0, 255, 8, 5, 18, 4, 1, 2, 3]);

function failure(code) {
  const metadata = trailer('grpc-status-details-bin', DETAILS);
  return { code, details: `status ${code}: ${WORDS}`, metadata };
}

/** What must be percent-encoded on its way. */
export const WORDS = 'nicht gefunden – 100 % größer\nals gedacht';

const drained = (call) => new Promise((done) => { call.once('drain', done); });

/** A client of `service` with a connection of its own, over TLS that trusts `ca`. */
export function grpcClient(target, ca, { service = 'Echo', options = {} } = {}) {
  const credentials = grpc.credentials.createSsl(Buffer.from(ca));
  const own = { 'grpc.use_local_subchannel_pool': 1 };
  return new interop[service](target, credentials, { ...OPTIONS, ...own, ...options });
}

/** One answer to one question: what came of it, whatever that is. */
export function ask(client, method, body, metadata, options = {}) {
  return new Promise((done) => {
    const result = { head: null, body: null, error: null };
    const call = client[method]({ body }, metadata, options, (error, answer) => {
      Object.assign(result, { error, body: answer?.body });
    });
    call.on('metadata', (head) => { result.head = head; });
    call.on('status', (status) => done({ ...result, status, code: status.code }));
    options.signal?.addEventListener('abort', () => call.cancel());
  });
}

/** All that a stream of answers says until its status. */
export function listen(call) {
  return new Promise((done) => {
    const notes = [];
    call.on('data', ({ body }) => notes.push(String(body)));
    call.on('error', () => {});
    call.on('status', (status) => done({ notes, status, code: status.code }));
  });
}

export { grpc };
