// gRPC through the gateway, with npm's grpc-js at both ends.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { after, before, beforeEach, describe, test } from 'node:test';

import { until } from './calls.mjs';
import { freeAddress } from './gateway.mjs';
import { DETAILS, WORDS, ask, grpc, grpcClient, listen, startGrpc } from './grpc.mjs';
import { openStage } from './stage.mjs';

const { status: CODE } = grpc;
let stage;

before(async () => { stage = await openStage(); });
after(async () => { await stage?.close(); });

const policy = (url, down) => `
upstreams:
  main: { targets: ['${url}'], protocol: h2${url.startsWith('https') ? ', tls: { ca: ca.pem }' : ''} }
  short: { targets: ['${url}'], protocol: h2, timeout: { response: 500ms, idle: 1s }${url.startsWith('https') ? ', tls: { ca: ca.pem }' : ''} }
  down: { targets: ['http://${down}'], protocol: h2 }
routes:
  /interop.Echo/**: { upstream: main, POST: orders:read }
  /interop.Echo/Hang: { upstream: short, POST: orders:read }
  /interop.Echo/HangStream: { upstream: short, POST: orders:read }
  /interop.Echo/Write: { upstream: main, POST: orders:write }
  /interop.Down/**: { upstream: down, POST: orders:read }
`;

for (const secured of [false, true]) {
  describe(secured ? 'TLS to the server' : 'h2c to the server', { timeout: 60_000 }, () => {
    let backend, gateway, client, down;
    before(async () => {
      backend = await startGrpc({ certificates: secured ? stage.certificates : null });
      down = await freeAddress();
      gateway = await stage.gateway({ tls: true, policy: policy(backend.url, down) });
      client = connect();
    });
    after(async () => {
      client?.close();
      await backend?.close();
    });
    beforeEach(() => {
      backend.seen.length = 0;
      backend.cancelled.length = 0;
    });

    const connect = (service, options) => (
      grpcClient(gateway.at('').slice('s://'.length), stage.certificates.ca, { service, options })
    );

    function metadata(token = stage.reader, entries = []) {
      const made = new grpc.Metadata();
      if (token) made.set('authorization', `Bearer ${token}`);
      for (const [name, value] of entries) made.add(name, value);
      return made;
    }

    const unary = (body = 'hello', options = {}) => (
      ask(options.client ?? client, 'Unary', Buffer.from(body), metadata(), options)
    );

    test('who may not is told in the codes of gRPC, and the server sees nothing', async () => {
      const elsewhere = connect('Nowhere');
      for (const [token, method, at, code, challenged] of [
        [null, 'Unary', client, CODE.UNAUTHENTICATED, true],
        ['nonsense', 'Unary', client, CODE.UNAUTHENTICATED, true],
        [stage.reader, 'Write', client, CODE.PERMISSION_DENIED, true],
        [stage.reader, 'Unary', elsewhere, CODE.UNIMPLEMENTED, false],
      ]) {
        const { status } = await ask(at, method, Buffer.from('x'), metadata(token));
        assert.equal(status.code, code, status.details);
        assert.ok(status.details.length > 0);
        assert.equal(status.metadata.get('www-authenticate').length, challenged ? 1 : 0);
        const record = await gateway.record(String(status.metadata.get('x-request-id')[0]));
        assert.equal(record.decision, 'deny');
      }
      for (const token of [null, stage.writer]) {
        const answer = await listen(client.Count({ body: Buffer.from('3') }, metadata(token)));
        assert.equal(answer.code, token ? CODE.PERMISSION_DENIED : CODE.UNAUTHENTICATED);
        const chat = client.Chat(metadata(token));
        chat.write({ body: Buffer.from('x') });
        assert.equal((await listen(chat)).code, token ? CODE.PERMISSION_DENIED : CODE.UNAUTHENTICATED);
      }
      elsewhere.close();
      assert.deepEqual(backend.seen, []);
    });

    test('a unary call, with metadata both ways', async () => {
      const own = [['x-own', 'one'], ['x-own', 'two'], ['x-own-bin', Buffer.from([0, 255, 13, 10])]];
      const { code, body, head, status } = await ask(client, 'Unary', Buffer.from('hello'), metadata(stage.reader, own));
      assert.deepEqual([code, String(body)], [CODE.OK, 'hello']);
      assert.deepEqual(head.get('x-own').join(), 'one, two');
      assert.deepEqual(head.get('x-own-bin'), [Buffer.from([0, 255, 13, 10])]);
      assert.deepEqual(status.metadata.get('x-trailer'), ['the end']);
      const [{ metadata: sent }] = backend.seen;
      assert.deepEqual(sent.get('authorization'), []);
      assert.deepEqual(sent.get('x-auth-client'), ['nightly']);
      const record = await gateway.record(head.get('x-request-id')[0]);
      assert.deepEqual([record.status, record.decision, record.protocol], [200, 'allow', 'HTTP/2']);
    });

    test('streams of the server, of the client, and of both', async () => {
      const counted = await listen(client.Count({ body: Buffer.from('1000') }, metadata()));
      assert.equal(counted.code, CODE.OK);
      assert.deepEqual(counted.notes, Array.from({ length: 1000 }, (_, n) => `${n}`));
      assert.deepEqual(counted.status.metadata.get('x-count'), ['1000']);

      const sum = new Promise((done) => {
        const call = client.Sum(metadata(), (error, answer) => done(error ?? String(answer.body)));
        for (let n = 0; n < 1000; n += 1) call.write({ body: Buffer.alloc(1000) });
        call.end();
      });
      assert.equal(await sum, '1000 notes, 1000000 bytes');

      const chat = client.Chat(metadata());
      const end = listen(chat);
      for (let n = 0; n < 100; n += 1) {
        const answer = once(chat, 'data');
        chat.write({ body: Buffer.from(`round ${n}`) });
        assert.equal(String((await answer)[0].body), `round ${n}`);
      }
      chat.end();
      assert.deepEqual([(await end).code, (await end).status.metadata.get('x-trailer')], [CODE.OK, ['bye']]);
    });

    test("the server's failures pass with their details", async () => {
      for (const code of [CODE.INVALID_ARGUMENT, CODE.NOT_FOUND, CODE.UNAUTHENTICATED, CODE.DATA_LOSS]) {
        const early = await ask(client, 'FailAtOnce', Buffer.from(`${code}`), metadata());
        const late = await listen(client.Fail({ body: Buffer.from(`${code} after 3`) }, metadata()));
        for (const { status } of [early, late]) {
          assert.deepEqual([status.code, status.details], [code, `status ${code}: ${WORDS}`]);
          assert.deepEqual(status.metadata.get('grpc-status-details-bin'), [DETAILS]);
        }
        assert.deepEqual(late.notes, ['0', '1', '2']);
      }
    });

    test('what the server does not have is its own UNIMPLEMENTED', async () => {
      const { code, status } = await ask(client, 'Absent', Buffer.from('x'), metadata());
      assert.equal(code, CODE.UNIMPLEMENTED);
      assert.match(status.details, /does not implement/);
    });

    test('a server that is down is UNAVAILABLE', async () => {
      const other = connect('Down');
      assert.equal((await ask(other, 'Unary', Buffer.from('x'), metadata())).code, CODE.UNAVAILABLE);
      other.close();
    });

    test('deadlines reach the server and end the call', async () => {
      const deadline = Date.now() + 300;
      const { code } = await ask(client, 'Hang', Buffer.from('x'), metadata(), { deadline });
      assert.equal(code, CODE.DEADLINE_EXCEEDED);
      const [{ deadline: known }] = backend.seen;
      assert.ok(Math.abs(known - deadline) < 250, `${known - deadline} ms off`);
      await until(2, () => backend.cancelled.find((name) => name === 'Hang'));
    });

    test("the gateway's own times end it, too", async () => {
      const late = await ask(client, 'Hang', Buffer.from('x'), metadata());
      assert.equal(late.code, CODE.DEADLINE_EXCEEDED);
      const stream = await listen(client.HangStream({ body: Buffer.from('x') }, metadata()));
      assert.notEqual(stream.code, CODE.OK);
      assert.deepEqual(stream.notes, ['first']);
      await until(2, () => (backend.cancelled.length === 2 ? true : null));
    });

    test('a call that is cancelled is cancelled at the server', async () => {
      const chat = client.Chat(metadata());
      const end = listen(chat);
      chat.write({ body: Buffer.from('x') });
      await once(chat, 'data');
      const start = Date.now();
      chat.cancel();
      assert.equal((await end).code, CODE.CANCELLED);
      await until(2, () => backend.cancelled.find((name) => name === 'Chat'));
      assert.ok(Date.now() - start < 2_000);
      const abort = new AbortController();
      const hanging = ask(client, 'Hang', Buffer.from('x'), metadata(), { signal: abort.signal });
      await until(2, () => backend.seen.find(({ name }) => name === 'Hang'));
      abort.abort();
      assert.equal((await hanging).code, CODE.CANCELLED);
      await until(2, () => backend.cancelled.find((name) => name === 'Hang'));
      await until(2, async () => ((await gateway.metric('scopegate_upstream_connections', 'state="active"')) === 0 ? true : null));
    });

    test('large messages pass both ways, up to the limit of bodies', async () => {
      for (const size of [65_535, 1 << 20, 8 << 20]) {
        const body = randomBytes(size);
        const answer = await unary(body);
        assert.equal(answer.code, CODE.OK, answer.status.details);
        assert.ok(answer.body.equals(body), `${size} bytes`);
      }
      const { status } = await unary(randomBytes(11 << 20));
      assert.equal(status.code, CODE.RESOURCE_EXHAUSTED, status.details);
    });

    test('compressed messages pass', async () => {
      const gzip = connect('Echo', { 'grpc.default_compression_algorithm': 2 });
      const answer = await unary('x'.repeat(100_000), { client: gzip });
      assert.deepEqual([answer.code, answer.body.length], [CODE.OK, 100_000]);
      gzip.close();
    });

    test('a hundred calls at once share connections', async (t) => {
      const chats = Array.from({ length: 100 }, () => client.Chat(metadata()));
      const ends = chats.map(listen);
      await Promise.all(chats.map(async (chat, n) => {
        const answer = once(chat, 'data');
        chat.write({ body: Buffer.from(`chat ${n}`) });
        assert.equal(String((await answer)[0].body), `chat ${n}`);
      }));
      const connections = await gateway.metric('scopegate_upstream_connections', 'upstream="main"', 'state="active"');
      assert.ok(connections > 0 && connections < 10, `${connections} connections`);
      t.diagnostic(`${connections} connections to the server for 100 streams`);
      for (const chat of chats) chat.end();
      assert.ok((await Promise.all(ends)).every(({ code }) => code === CODE.OK));
      const answers = await Promise.all(Array.from({ length: 300 }, (_, n) => unary(`call ${n}`)));
      assert.ok(answers.every(({ code, body }, n) => code === CODE.OK && String(body) === `call ${n}`));
    });

    // The last test: it ends the server.
    test('a server that dies, and comes back', async (t) => {
      const chat = client.Chat(metadata());
      const end = listen(chat);
      chat.write({ body: Buffer.from('x') });
      await once(chat, 'data');
      await backend.close();
      const { status } = await end;
      t.diagnostic(`the stream ended with ${status.code} ${status.details}`);
      assert.ok([CODE.UNAVAILABLE, CODE.INTERNAL].includes(status.code), `${status.code}`);
      assert.equal((await unary()).code, CODE.UNAVAILABLE);
      backend = await startGrpc({ port: backend.port, certificates: secured ? stage.certificates : null });
      const { took } = await until(5, async () => ((await unary()).code === CODE.OK ? true : null));
      t.diagnostic(`it was found again after ${took} ms`);
    });
  });
}
