// Server-sent events through the gateway: npm's eventsource in front, Node's HTTP servers behind.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { performance } from 'node:perf_hooks';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { EventSource } from 'eventsource';
import { Agent, fetch } from 'undici';

import { until } from './calls.mjs';
import { bearer, openStage, summary } from './stage.mjs';

const EVENTS = 200;
let stage;

before(async () => { stage = await openStage(); });
after(async () => { await stage?.close(); });

const policy = (url, protocol) => `
upstreams:
  main: { targets: [${url}], protocol: ${protocol} }
  short: { targets: [${url}], protocol: ${protocol}, timeout: { response: 500ms, idle: 1s } }
routes:
  /events: { upstream: main, GET: orders:read }
  /short: { upstream: short, GET: orders:read }
`;

/** A server whose streams the test writes; HTTP/2 without TLS, or HTTP/1.1. */
async function startServer(http2) {
  const streams = [];
  const server = (http2 ? createHttp2Server : createServer)((request, response) => {
    const stream = { headers: request.headers, response, send: (text) => response.write(text), closed: false };
    response.on('close', () => { stream.closed = true; });
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    response.flushHeaders?.();
    streams.push(stream);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = async () => {
    for (const { response } of streams) response.end();
    server.close();
    server.closeAllConnections?.();
  };
  return { url: `http://127.0.0.1:${server.address().port}`, streams, close };
}

const COMBINATIONS = [
  { name: 'HTTP/1.1 at both sides', tls: false, http2: false, protocol: 'http1' },
  { name: 'HTTP/1.1 over TLS', tls: true, http2: false, protocol: 'http1' },
  { name: 'HTTP/2 over TLS, HTTP/1.1 behind', tls: true, http2: true, protocol: 'http1' },
  { name: 'HTTP/2 at both sides', tls: true, http2: true, protocol: 'h2' },
];

for (const { name, tls, http2, protocol } of COMBINATIONS) {
  describe(name, { timeout: 60_000 }, () => {
    let backend, gateway, dispatcher;
    before(async () => {
      backend = await startServer(protocol === 'h2');
      gateway = await stage.gateway({ tls, policy: policy(backend.url, protocol) });
      dispatcher = new Agent({ allowH2: http2, connect: { ca: stage.certificates.ca } });
    });
    after(async () => {
      await dispatcher?.destroy();
      await backend?.close();
    });
    beforeEach(() => { backend.streams.length = 0; });

    function open(path, token, base = gateway.at('http')) {
      const answers = [];
      const asked = async (url, init) => {
        const answer = await fetch(url, { ...init, headers: { ...init.headers, ...bearer(token) }, dispatcher });
        answers.push(answer);
        return answer;
      };
      return Object.assign(new EventSource(base + path, { fetch: asked }), { answers });
    }

    /** An open stream, at both ends. */
    async function opened(path, base) {
      const source = open(path, stage.reader, base);
      await event(source, 'open');
      const { answer: stream } = await until(5, () => backend.streams.at(-1));
      return { source, stream };
    }

    test('the token is checked before the backend sees anything', async () => {
      for (const [token, status] of [[null, 401], ['nonsense', 401], [stage.writer, 403]]) {
        const source = open('/events', token);
        const { code } = await event(source, 'error');
        assert.equal(code, status);
        assert.equal(source.readyState, EventSource.CLOSED, 'it does not try again');
        const record = await gateway.record(source.answers[0].headers.get('x-request-id'));
        assert.deepEqual([record.status, record.decision], [status, 'deny']);
      }
      assert.equal(backend.streams.length, 0);
    });

    /** Sends the next event when the last one has come, and gives how long each took. */
    async function oneByOne({ source, stream }) {
      const times = [];
      for (let n = 0; n < EVENTS; n += 1) {
        const arrival = event(source, 'message');
        const sent = performance.now();
        stream.send(`id: ${n}\ndata: event ${n}\n\n`);
        const { data, lastEventId } = await arrival;
        times.push(performance.now() - sent);
        assert.deepEqual([data, lastEventId], [`event ${n}`, `${n}`]);
      }
      return times;
    }

    test('each event arrives before the next one is sent', async (t) => {
      const through = await opened('/events');
      assert.equal(through.source.answers[0].headers.get('content-type'), 'text/event-stream');
      const times = await oneByOne(through);
      assert.equal(backend.streams.length, 1, 'all of one answer');
      const { headers } = through.stream;
      assert.deepEqual([headers.accept, headers.authorization], ['text/event-stream', undefined]);
      through.source.close();
      t.diagnostic(`sent to received through the gateway: ${summary(times)}`);
      if (protocol === 'h2') return;
      const direct = await opened('/events', backend.url);
      t.diagnostic(`without it: ${summary(await oneByOne(direct))}`);
      direct.source.close();
    });

    test('who reconnects says what came last', async () => {
      const { source, stream } = await opened('/events');
      const arrival = event(source, 'message');
      stream.send('retry: 50\nid: a7\ndata: x\n\n');
      await arrival;
      stream.response.end();
      await event(source, 'error');
      await event(source, 'open');
      const { answer: second } = await until(5, () => backend.streams[1]);
      assert.equal(second.headers['last-event-id'], 'a7');
      const next = event(source, 'message');
      second.send('data: y\n\n');
      assert.equal((await next).data, 'y');
      source.close();
    });

    test('a backend that breaks off is reconnected to', async () => {
      const { source, stream } = await opened('/events');
      const arrival = event(source, 'message');
      stream.send('retry: 50\nid: b1\ndata: x\n\n');
      await arrival;
      (stream.response.stream ?? stream.response.socket).destroy();
      await event(source, 'open');
      const { answer: second } = await until(5, () => backend.streams[1]);
      assert.equal(second.headers['last-event-id'], 'b1');
      source.close();
    });

    test("a client that goes away ends the backend's answer", async (t) => {
      const { source, stream } = await opened('/events');
      stream.send('data: x\n\n');
      await event(source, 'message');
      assert.equal(stream.closed, false);
      source.close();
      const { took } = await until(2, () => (stream.closed ? true : null));
      t.diagnostic(`the backend knew after ${took} ms`);
      const record = await gateway.record(source.answers[0].headers.get('x-request-id'));
      assert.deepEqual([record.status, record.decision, record.protocol], [200, 'allow', http2 ? 'HTTP/2' : 'HTTP/1.1']);
    });

    test('a silent stream ends with `timeout.idle`; comments keep it', async () => {
      const { source, stream } = await opened('/short');
      for (let n = 0; n < 6; n += 1) {
        stream.send(': still here\n\n');
        await sleep(400);
      }
      assert.equal(source.readyState, EventSource.OPEN, 'far past the time for the head of an answer');
      const arrival = event(source, 'message');
      stream.send('retry: 60000\ndata: x\n\n');
      await arrival;
      const start = Date.now();
      await event(source, 'error');
      assert.ok(Date.now() - start < 5_000);
      await until(2, () => (stream.closed ? true : null));
      source.close();
    });
  });
}

const event = (target, name) => new Promise((done) => target.addEventListener(name, done, { once: true }));
