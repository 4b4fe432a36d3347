// HTTP/2 between the gateway and Node's own http2 server, with clients of HTTP/1.1 and HTTP/2.

import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, constants, createSecureServer, createServer } from 'node:http2';
import { request as httpsRequest } from 'node:https';
import { performance } from 'node:perf_hooks';
import { Readable } from 'node:stream';
import { after, before, beforeEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Agent, request } from 'undici';

import { until } from './calls.mjs';
import { bearer, openStage, summary } from './stage.mjs';

const LARGE = 48 << 20;
const FAREWELL = fileURLToPath(new URL('farewell.mjs', import.meta.url));
let stage;

before(async () => { stage = await openStage(); });
after(async () => { await stage?.close(); });

const policy = (url) => `
upstreams: { main: { targets: ['${url}'], protocol: h2${url.startsWith('https') ? ', tls: { ca: ca.pem }' : ''} } }
limits: { body: 64MiB }
routes:
  /**: { GET: orders:read, POST: orders:read }
`;

/** What the server does, by path. */
const BEHAVIOUR = {
  '/trailers': (stream) => {
    stream.respond({ ':status': 200, trailer: 'x-sum' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '5', 'set-cookie': 'a=b' }));
    stream.end('hello');
  },
  '/echo': (stream) => {
    stream.respond({ ':status': 200 });
    stream.pipe(stream);
  },
  '/digest': async (stream) => {
    const sum = await digest(stream);
    stream.respond({ ':status': 200 });
    stream.end(sum);
  },
  '/large': (stream, _, { ':method': method }) => {
    const endStream = method === 'HEAD';
    stream.respond({ ':status': 200, 'content-length': LARGE }, { endStream });
    if (!endStream) Readable.from(pieces()).pipe(stream);
  },
  '/hints': (stream) => {
    stream.additionalHeaders({ ':status': 103, link: '</a.css>; rel=preload' });
    stream.respond({ ':status': 200 });
    stream.end('after hints');
  },
  '/empty': (stream) => stream.respond({ ':status': 204 }, { endStream: true }),
  '/broken': (stream) => {
    stream.respond({ ':status': 200 });
    stream.write('half');
    // `close` with a code would end it well first.
    setTimeout(() => stream.destroy(new Error('broken')), 20);
  },
  '/refused': (stream, state) => {
    state.refusals += 1;
    if (state.refusals === 1) return stream.close(constants.NGHTTP2_REFUSED_STREAM);
    stream.respond({ ':status': 200 });
    return stream.end('at last');
  },
  '/push': (stream) => {
    stream.respond({ ':status': 200 });
    stream.end(`push ${stream.pushAllowed}`);
  },
};

function* pieces() {
  for (let n = 0; n < LARGE / 65_536; n += 1) yield Buffer.alloc(65_536, n);
}

async function digest(source) {
  const hash = createHash('sha256');
  for await (const piece of source) hash.update(piece);
  return hash.digest('hex');
}

/** A server that does as `BEHAVIOUR` says. */
async function startServer(certificates) {
  const state = { seen: [], ended: [], refusals: 0 };
  const server = certificates ? createSecureServer(certificates) : createServer();
  const sessions = new Set();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
    session.on('error', () => {});
    session.on('stream', (stream, headers) => {
      stream.on('error', () => {});
      stream.on('close', () => state.ended.push(headers[':path']));
      state.seen.push(headers);
      BEHAVIOUR[headers[':path']](stream, state, headers);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = async () => {
    server.close();
    for (const session of sessions) session.destroy();
  };
  const at = certificates ? 'https://localhost' : 'http://127.0.0.1';
  return Object.assign(state, { url: `${at}:${server.address().port}`, close });
}

for (const secured of [false, true]) {
  describe(secured ? 'by ALPN' : 'h2c', { timeout: 120_000 }, () => {
    let backend, gateway;
    const dispatchers = {};
    before(async () => {
      backend = await startServer(secured ? stage.certificates : null);
      gateway = await stage.gateway({ tls: true, policy: policy(backend.url) });
      const { ca } = stage.certificates;
      dispatchers['HTTP/1.1'] = new Agent({ allowH2: false, connections: 64, connect: { ca } });
      dispatchers['HTTP/2'] = new Agent({ allowH2: true, connect: { ca } });
    });
    after(async () => {
      await Promise.all(Object.values(dispatchers).map((dispatcher) => dispatcher.destroy()));
      await backend?.close();
    });
    beforeEach(() => { Object.assign(backend, { refusals: 0, seen: [], ended: [] }); });

    const call = (path, version, { token = stage.reader, base = gateway.at('http'), headers, ...options } = {}) => (
      request(base + path, {
        dispatcher: dispatchers[version],
        headers: { ...headers, ...bearer(token) },
        ...options,
      })
    );

    for (const version of ['HTTP/1.1', 'HTTP/2']) {
      test(`${version} in front: who may not is refused`, async () => {
        const answer = await call('/echo', version, { token: null });
        assert.equal(answer.statusCode, 401);
        await answer.body.dump();
        assert.deepEqual(backend.seen, []);
        const record = await gateway.record(answer.headers['x-request-id']);
        assert.deepEqual([record.protocol, record.reason], [version, 'missing_token']);
      });

      test(`${version} in front: heads, and bodies that are not there`, async () => {
        const answer = await call('/empty', version, { headers: { 'x-own': 'a, b' } });
        assert.equal(answer.statusCode, 204);
        const [sent] = backend.seen;
        assert.deepEqual([sent[':method'], sent['x-own'], sent['x-auth-client']], ['GET', 'a, b', 'nightly']);
        assert.equal(sent.authorization, undefined);
        const head = await call('/large', version, { method: 'HEAD' });
        assert.deepEqual([head.statusCode, Number(head.headers['content-length'])], [200, LARGE]);
        assert.equal((await head.body.arrayBuffer()).byteLength, 0);
      });

      test(`${version} in front: large bodies both ways`, async (t) => {
        const start = Date.now();
        const expected = await digest(pieces());
        const body = () => Readable.from(pieces());
        const up = await call('/digest', version, { method: 'POST', body: body() });
        assert.equal(await up.body.text(), expected);
        const down = await call('/large', version);
        assert.equal(await digest(down.body), expected);
        const echo = await call('/echo', version, { method: 'POST', body: body() });
        assert.equal(await digest(echo.body), expected, 'up and down at once');
        const known = randomBytes(5 << 20);
        const short = await call('/echo', version, { method: 'POST', body: known });
        assert.ok(known.equals(Buffer.from(await short.body.arrayBuffer())));
        t.diagnostic(`${4 * LARGE >> 20} MiB in ${Date.now() - start} ms`);
      });

      test(`${version} in front: an answer that breaks off is no whole one`, async () => {
        const answer = await call('/broken', version);
        await assert.rejects(answer.body.text());
      });

      test(`${version} in front: a stream that was refused is asked again`, async () => {
        const answer = await call('/refused', version);
        assert.deepEqual([answer.statusCode, await answer.body.text(), backend.refusals], [200, 'at last', 2]);
      });

      test(`${version} in front: nothing is pushed, and hints are no answer`, async () => {
        assert.equal(await (await call('/push', version)).body.text(), 'push false');
        const hinted = await call('/hints', version);
        assert.deepEqual([hinted.statusCode, await hinted.body.text()], [200, 'after hints']);
      });
    }

    test('no GET is lost when connections end', async (t) => {
      const farewell = await startFarewell(secured ? stage.certificates : null);
      t.after(farewell.close);
      const { at } = await stage.gateway({ tls: true, policy: policy(farewell.url) });
      for (const version of ['HTTP/1.1', 'HTTP/2']) {
        const before = await farewell.counts();
        const { count, failed, times } = await load(() => call('/item', version, { base: at('http') }));
        const { farewells, sessions } = await farewell.counts();
        const [ended, opened] = [farewells - before.farewells, sessions - before.sessions];
        t.diagnostic(`${version} in front: ${count} requests, ${ended} connections ended, ${opened} opened, ${failed.length} lost; ${summary(times)}`);
        assert.deepEqual(failed, []);
        assert.ok(ended > 20, `${ended} connections ended`);
      }
    });

    test('trailers reach clients of HTTP/2', async () => {
      const session = connect(gateway.at('http'), { ca: stage.certificates.ca });
      const stream = session.request({ ':path': '/trailers', te: 'trailers', ...bearer(stage.reader) });
      const trailers = once(stream, 'trailers');
      let text = '';
      stream.setEncoding('utf8').on('data', (piece) => { text += piece; });
      await once(stream, 'end');
      assert.equal(text, 'hello');
      const [fields] = await trailers;
      assert.deepEqual([fields['x-sum'], fields['set-cookie']], ['5', undefined]);
      session.close();
    });

    test('trailers reach clients of HTTP/1.1 that ask for them', async () => {
      for (const te of ['trailers', null]) {
        const headers = { ...bearer(stage.reader), ...(te && { te, connection: 'te' }) };
        const asked = httpsRequest(`${gateway.at('http')}/trailers`, { ca: stage.certificates.ca, headers, agent: false });
        asked.end();
        const [answer] = await once(asked, 'response');
        let text = '';
        for await (const piece of answer.setEncoding('utf8')) text += piece;
        assert.equal(text, 'hello');
        assert.deepEqual(answer.trailers, te ? { 'x-sum': '5' } : {});
      }
    });

    test('a client that goes away ends the stream', async () => {
      const session = connect(gateway.at('http'), { ca: stage.certificates.ca });
      const asked = session.request({ ':path': '/echo', ':method': 'POST', ...bearer(stage.reader) });
      asked.write('hello');
      await once(asked, 'data');
      asked.close(constants.NGHTTP2_CANCEL);
      await until(2, () => (backend.ended.includes('/echo') ? true : null));
      session.close();
      await until(2, async () => ((await gateway.metric('scopegate_upstream_connections', 'state="active"')) === 0 ? true : null));
    });
  });
}

/** Calls 3000 times, 64 at once. */
async function load(call) {
  const result = { count: 0, failed: [], times: [] };
  const caller = async () => {
    while (result.count < 3_000) {
      result.count += 1;
      const asked = performance.now();
      const answer = await call().catch((error) => error);
      const text = await answer.body?.text();
      result.times.push(performance.now() - asked);
      if (answer.statusCode !== 200 || text !== 'ok') result.failed.push(answer.statusCode ?? String(answer));
    }
  };
  await Promise.all(Array.from({ length: 64 }, caller));
  return result;
}

/** The server of farewell.mjs. */
async function startFarewell(certificates) {
  const child = fork(FAREWELL, certificates ? [JSON.stringify(certificates)] : []);
  const [{ port }] = await once(child, 'message');
  const counts = async () => {
    child.send('counts');
    const [told] = await once(child, 'message');
    return told;
  };
  const close = async () => {
    child.disconnect();
    await once(child, 'exit');
  };
  return { url: `${certificates ? 'https://localhost' : 'http://127.0.0.1'}:${port}`, counts, close };
}
