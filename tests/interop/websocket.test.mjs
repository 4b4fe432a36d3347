// WebSocket (RFC 6455) through the gateway: npm's ws at both ends, and undici's client.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Agent, WebSocket as Undici } from 'undici';
import { WebSocket, WebSocketServer } from 'ws';

import { until } from './calls.mjs';
import { bearer, openStage } from './stage.mjs';

const SIZES = [0, 1, 125, 126, 127, 1_000, 65_535, 65_536, 65_537, 300_000, 1_048_576, 3_000_001];
const MANY = 400;
let stage, backend;

before(async () => {
  stage = await openStage();
  backend = await startServer();
});
after(async () => {
  await Promise.all([stage, backend].map((started) => started?.close()));
});
beforeEach(() => {
  backend.seen.length = 0;
  backend.closed.length = 0;
});

const policy = () => `
drain: { timeout: 2s }
upstreams: { main: { targets: [${backend.url}] }, short: { targets: [${backend.url}], timeout: { idle: 1s } } }
routes:
  /chat/**: { upstream: main, upgrade: websocket, GET: orders:read }
  /short/**: { upstream: short, upgrade: websocket, GET: orders:read }
  /plain: { upstream: main, GET: orders:read }
`;

/** What the server does, by path. */
const BEHAVIOUR = {
  '/chat/echo': (socket) => socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })),
  '/short/echo': (socket) => socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })),
  // It sends while it is sent to, and tells how much came.
  '/chat/both': (socket) => {
    let bytes = 0;
    socket.once('message', () => {
      for (let n = 0; n < MANY; n += 1) socket.send(Buffer.alloc(10_000, n));
    });
    socket.on('message', (data) => {
      bytes += data.length;
      if (data.length === 0) socket.send(`got ${bytes}`);
    });
  },
  '/chat/close': (socket) => socket.on('message', () => socket.close(4001, 'enough')),
  '/chat/die': (socket) => socket.on('message', () => socket.terminate()),
  '/chat/ping': (socket) => {
    socket.on('message', () => socket.ping('are you there?'));
    socket.on('pong', (data) => socket.send(`pong ${data}`));
  },
};

async function startServer() {
  const seen = [];
  const server = createServer((request, response) => {
    seen.push({ upgraded: false, headers: request.headers });
    response.writeHead(426, { 'content-length': 0 }).end();
  });
  const closed = [];
  const sockets = new WebSocketServer({
    server,
    perMessageDeflate: { threshold: 0 },
    handleProtocols: (offered) => (offered.has('chat.v2') ? 'chat.v2' : false),
  });
  sockets.on('connection', (socket, request) => {
    seen.push({ upgraded: true, headers: request.headers });
    socket.on('error', () => {});
    socket.on('close', (code, reason) => closed.push({ code, reason: String(reason) }));
    BEHAVIOUR[request.url](socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = async () => {
    for (const socket of sockets.clients) socket.terminate();
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${server.address().port}`, seen, closed, sockets, close };
}

for (const tls of [false, true]) {
  describe(tls ? 'wss' : 'ws', { timeout: 60_000 }, () => {
    let gateway;
    before(async () => { gateway = await stage.gateway({ tls, policy: policy() }); });

    /** A socket that asks; it is open, or there is the answer that refused it. */
    async function ask(path, { token = stage.reader, protocols = [], base = gateway.at('ws'), ...options } = {}) {
      const socket = new WebSocket(base + path, protocols, {
        headers: bearer(token),
        ca: stage.certificates.ca,
        perMessageDeflate: false,
        ...options,
      });
      const answers = ['upgrade', 'unexpected-response'].map((name) => new Promise((done) => {
        socket.on(name, (...args) => done(args.at(-1)));
      }));
      socket.on('error', () => {});
      const answer = await Promise.race(answers);
      if (answer.statusCode === 101 && socket.readyState === WebSocket.CONNECTING) await once(socket, 'open');
      return { socket, status: answer.statusCode, headers: answer.headers, id: answer.headers['x-request-id'] };
    }

    async function refused(path, options, status, reason) {
      const answer = await ask(path, options);
      answer.socket.terminate();
      assert.equal(answer.status, status);
      assert.deepEqual(backend.seen, [], 'the backend was asked');
      const record = await gateway.record(answer.id);
      assert.deepEqual([record.status, record.decision, record.reason], [status, 'deny', reason]);
      return answer.headers['www-authenticate'];
    }

    test('the token is checked before the backend sees anything', async () => {
      const denied = () => gateway.metric('scopegate_decisions_total', 'decision="deny"');
      const already = await denied();
      assert.match(await refused('/chat/echo', { token: null }, 401, 'missing_token'), /^Bearer/);
      assert.match(await refused('/chat/echo', { token: 'nonsense' }, 401, 'malformed_token'), /invalid_token/);
      assert.match(await refused('/chat/echo', { token: stage.writer }, 403, 'missing_scope'), /insufficient_scope/);
      await refused('/nowhere', {}, 404, 'no_route');
      assert.equal(await denied(), already + 4);
    });

    test('a route without `upgrade` turns nothing', async () => {
      const { socket, status } = await ask('/plain');
      socket.terminate();
      assert.equal(status, 426, "the backend's own answer to what reached it as an ordinary request");
      assert.deepEqual(backend.seen.map(({ upgraded, headers }) => [upgraded, headers.upgrade]), [[false, undefined]]);
    });

    for (const compressed of [false, true]) {
      test(`messages of all sizes come back${compressed ? ', compressed' : ''}`, async () => {
        const { socket, headers, id } = await ask('/chat/echo', { perMessageDeflate: compressed && { threshold: 0 } });
        assert.equal(/permessage-deflate/.test(headers['sec-websocket-extensions']), compressed);
        for (const size of SIZES) {
          for (const message of [randomBytes(size), 'é'.repeat(size / 2)]) {
            const echo = once(socket, 'message');
            socket.send(message);
            const [data, isBinary] = await echo;
            assert.equal(isBinary, Buffer.isBuffer(message));
            assert.ok(data.equals(Buffer.from(message)), `${size} bytes`);
          }
        }
        const [{ upgraded, headers: sent }] = backend.seen;
        assert.deepEqual([upgraded, sent.authorization, sent['x-auth-client']], [true, undefined, 'nightly']);
        socket.close(1000);
        await once(socket, 'close');
        const record = await gateway.record(id);
        assert.deepEqual([record.status, record.decision, record.route], [101, 'allow', '/chat/**']);
        const least = SIZES.reduce((sum, size) => sum + size, 0);
        assert.ok(record.bytes_in > least && record.bytes_out > least, `${record.bytes_in} in, ${record.bytes_out} out`);
      });
    }

    test('both sides send at once', async () => {
      const { socket } = await ask('/chat/both');
      const got = [];
      const end = new Promise((done) => {
        socket.on('message', (data, isBinary) => (isBinary ? got.push(data) : done(String(data))));
      });
      for (let n = 0; n < MANY; n += 1) socket.send(Buffer.alloc(20_000, n));
      socket.send('');
      assert.equal(await end, `got ${MANY * 20_000}`);
      assert.equal(got.length, MANY);
      assert.ok(got.every((data, n) => data.equals(Buffer.alloc(10_000, n))), 'in their order');
      socket.terminate();
    });

    test('many sockets at once', async () => {
      const open = await Promise.all(Array.from({ length: 50 }, () => ask('/chat/echo')));
      await Promise.all(open.map(async ({ socket }, n) => {
        const echo = once(socket, 'message');
        socket.send(`socket ${n}`);
        assert.equal(String((await echo)[0]), `socket ${n}`);
      }));
      assert.equal(backend.seen.length, 50);
      for (const { socket } of open) socket.terminate();
      await until(5, () => (backend.sockets.clients.size === 0 ? true : null));
    });

    test('pings and pongs pass both ways', async () => {
      const { socket } = await ask('/chat/ping');
      const pong = once(socket, 'pong');
      socket.ping('from the client');
      assert.equal(String((await pong)[0]), 'from the client');
      const [ping, told] = [once(socket, 'ping'), once(socket, 'message')];
      socket.send('now you');
      assert.equal(String((await ping)[0]), 'are you there?');
      assert.equal(String((await told)[0]), 'pong are you there?');
      socket.terminate();
    });

    test('close codes pass both ways', async () => {
      const theirs = await ask('/chat/close');
      theirs.socket.send('x');
      const [code, reason] = await once(theirs.socket, 'close');
      assert.deepEqual([code, String(reason)], [4001, 'enough']);
      const ours = await ask('/chat/echo');
      ours.socket.close(3999, 'good bye');
      const [echoed] = await once(ours.socket, 'close');
      assert.equal(echoed, 3999);
      const { reason: theirReason } = await closedWith(3999);
      assert.equal(theirReason, 'good bye');
    });

    test('a backend that dies closes the client, and the reverse', async () => {
      const { socket, id } = await ask('/chat/die');
      socket.send('x');
      const [code] = await once(socket, 'close');
      assert.equal(code, 1006);
      assert.equal((await gateway.record(id)).status, 101);
      const other = await ask('/chat/echo');
      await until(2, () => (backend.sockets.clients.size === 1 ? true : null));
      other.socket.terminate();
      await until(2, () => (backend.sockets.clients.size === 0 ? true : null));
      await closedWith(1006);
    });

    test('subprotocols are negotiated', async () => {
      const { socket } = await ask('/chat/echo', { protocols: ['chat.v1', 'chat.v2'] });
      assert.equal(socket.protocol, 'chat.v2');
      assert.equal(backend.seen[0].headers['sec-websocket-protocol'], 'chat.v1,chat.v2');
      socket.terminate();
    });

    test('a silent tunnel ends with `timeout.idle`; pings keep it', async () => {
      const { socket } = await ask('/short/echo');
      const start = Date.now();
      for (let n = 0; n < 5; n += 1) {
        const pong = once(socket, 'pong');
        socket.ping();
        await pong;
        await sleep(400);
      }
      assert.equal(socket.readyState, WebSocket.OPEN);
      const [code] = await once(socket, 'close');
      assert.equal(code, 1006);
      assert.ok(Date.now() - start < 8_000);
    });

    test('who drains lets tunnels go on until `drain.timeout`', async () => {
      const drained = await stage.gateway({ tls, policy: policy() });
      const { socket } = await ask('/chat/echo', { base: drained.at('ws') });
      const start = Date.now();
      const [end, closed] = [drained.close(), once(socket, 'close')];
      await until(2, async () => ((await fetch(`${drained.admin}/readyz`)).ok ? null : true));
      const echo = once(socket, 'message');
      socket.send('still here');
      assert.equal(String((await echo)[0]), 'still here');
      assert.equal((await closed)[0], 1006);
      await end;
      assert.ok(Date.now() - start < 4_500, 'it did not have to be killed');
    });

    test("undici's client, which Node has as its own", async () => {
      const dispatcher = new Agent({ connect: { ca: stage.certificates.ca } });
      for (const Client of [Undici, globalThis.WebSocket].filter(Boolean)) {
        const open = (token) => new Client(`${gateway.at('ws')}/chat/echo`, {
          protocols: ['chat.v2'],
          headers: bearer(token),
          dispatcher,
        });
        const none = open(null);
        await event(none, 'error');
        assert.equal(backend.seen.length, 0);
        const socket = open(stage.reader);
        socket.binaryType = 'arraybuffer';
        await event(socket, 'open');
        assert.equal(socket.protocol, 'chat.v2');
        for (const size of SIZES.filter((size) => size > 0)) {
          const message = randomBytes(size);
          const echo = event(socket, 'message');
          socket.send(message);
          assert.ok(Buffer.from((await echo).data).equals(message), `${size} bytes`);
        }
        const closed = event(socket, 'close');
        socket.close(4002, 'done');
        assert.deepEqual([(await closed).code, (await closed).wasClean], [4002, true]);
        backend.seen.length = 0;
      }
      await dispatcher.close();
    });
  });
}

/** How the backend learned of an end with this code. */
async function closedWith(code) {
  const { answer } = await until(2, () => backend.closed.find((end) => end.code === code));
  return answer;
}

const event = (target, name) => new Promise((done) => target.addEventListener(name, done, { once: true }));
