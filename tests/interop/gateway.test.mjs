// The gateway in front of a backend, with tokens of a provider that knows nothing of it.

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { byUnknownKey, calls, decode } from './calls.mjs';
import { startBackend, startGateway } from './gateway.mjs';
import { API, OTHER_API, newKey, startProvider } from './provider.mjs';
import { machineToken, personTokens } from './tokens.mjs';

const KEYS = ['first', 'second'].map(newKey);
let provider, backend, gateway;

before(async () => {
  provider = await startProvider({ keys: [KEYS[0]] });
  backend = await startBackend();
  gateway = await startGateway(process.env.SCOPEGATE_BIN, policy);
});
after(async () => {
  await Promise.all([gateway, backend, provider].map((started) => started?.close()));
});
beforeEach(() => { backend.seen.length = 0; });

const policy = ({ listen, admin }) => `
listen: ${listen}
admin: ${admin}
issuer: ${provider.url}
audience: ${API}
preset: rfc9068
upstream: ${backend.url}
errors: { detail: full }
routes:
  /open: { public: true }
  /orders/**:
    GET: orders:read
    POST: orders:write
  /profile:
    GET: { scope: orders:read, token: user }
  /jobs:
    POST: { scope: orders:write, token: client }
`;

const { call, passes, refused } = calls(() => ({ gateway, backend }));

test('without a token only what is public is served', async () => {
  assert.equal((await call('GET /open')).status, 200);
  const { challenge } = await refused('GET /orders/1', null, 401, 'missing_token');
  assert.match(challenge, /^Bearer/);
  assert.doesNotMatch(challenge, /error=/);
});

test("a machine's scopes decide what it may do", async () => {
  const token = await machineToken(provider.url, { scope: 'orders:read' });
  await passes('GET /orders/1', token);
  const { challenge } = await refused('POST /orders', token, 403, 'missing_scope');
  assert.match(challenge, /error="insufficient_scope".*scope="orders:write"/);
  const both = await machineToken(provider.url, { scope: 'orders:read orders:write' });
  await passes('POST /orders', both);
});

test('a token for another resource is refused', async () => {
  const token = await machineToken(provider.url, { resource: OTHER_API });
  const { challenge } = await refused('GET /orders/1', token, 401, 'wrong_audience');
  assert.match(challenge, /error="invalid_token"/);
});

test('an opaque token and an ID token are refused', async () => {
  const opaque = await machineToken(provider.url, { resource: null, scope: null });
  await refused('GET /orders/1', opaque, 401, 'malformed_token');
  const { id_token } = await personTokens(provider.url);
  const before = backend.seen.length;
  assert.equal((await call('GET /orders/1', id_token)).status, 401);
  assert.equal(backend.seen.length, before);
});

test('people and machines are told apart', async () => {
  const { access_token: person } = await personTokens(provider.url, { scope: 'openid orders:read orders:write' });
  const machine = await machineToken(provider.url, { scope: 'orders:read orders:write' });
  await passes('GET /profile', person);
  await passes('POST /jobs', machine);
  await refused('GET /profile', machine, 403, 'wrong_token_kind');
  await refused('POST /jobs', person, 403, 'wrong_token_kind');
});

test('the backend is told who calls, by the gateway alone', async () => {
  const { access_token: person } = await personTokens(provider.url);
  const forged = { 'x-auth-subject': 'mallory', 'X_Auth_Kind': 'client', 'x-auth-extra': '1' };
  await passes('GET /orders/1', person, forged);
  const { headers } = backend.seen.at(-1);
  assert.equal(headers['x-auth-subject'], 'alice');
  assert.equal(headers['x-auth-client'], 'web-app');
  assert.equal(headers['x-auth-kind'], 'user');
  assert.equal(headers['x-auth-issuer'], provider.url);
  for (const name of ['authorization', 'x_auth_kind', 'x-auth-extra']) {
    assert.equal(headers[name], undefined, name);
  }
  await passes('GET /orders/1', await machineToken(provider.url));
  assert.equal(backend.seen.at(-1).headers['x-auth-subject'], undefined);
  assert.equal(backend.seen.at(-1).headers['x-auth-client'], 'nightly');
});

test('a changed token is refused', async () => {
  const token = await machineToken(provider.url);
  const [header, , signature] = token.split('.');
  const claims = { ...decode(token).claims, scope: 'orders:read orders:write' };
  const forged = [header, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.');
  await refused('POST /orders', forged, 401, 'bad_signature');
});

// The last test: it leaves the provider with the second key alone.
test('keys rotate under load without a wrong answer', { timeout: 120_000 }, async (t) => {
  const old = await machineToken(provider.url);
  const load = startLoad(old);
  t.after(load.stop);

  await restart([KEYS[1], KEYS[0]]);
  const next = await machineToken(provider.url);
  assert.equal(decode(next).header.kid, 'second');
  assert.equal((await call('GET /orders/1', next)).status, 200, 'a new key is good at first sight');
  assert.equal((await call('GET /orders/1', old)).status, 200, 'the old key is still published');
  const { wrong, count } = await load.stop();
  assert.deepEqual(wrong, []);
  assert.ok(count > 20, `${count} requests were made`);
  assert.equal(provider.counts.keys, 1, 'one look for new keys was enough');

  await restart([KEYS[1]]);
  assert.equal((await call('GET /orders/1', old)).status, 200, 'nothing was refreshed yet');
  const newLoad = startLoad(next);
  t.after(newLoad.stop);
  const last = await untilRefused(old);
  assert.deepEqual([last.status, last.reason], [401, 'unknown_key']);
  assert.deepEqual((await newLoad.stop()).wrong, []);
  await refused('GET /orders/1', old, 401, 'unknown_key');
  await passes('GET /orders/1', next);
});

async function restart(keys) {
  await provider.close();
  provider = await startProvider({ port: provider.port, keys });
}

/** Four callers with one token until they are stopped, at most 30 000 requests. */
function startLoad(token) {
  const result = { wrong: [], count: 0 };
  let going = true;
  const caller = async () => {
    for (let n = 0; going && n < 7_500; n += 1) {
      const failed = (error) => ({ status: 'no answer', reason: error.message });
      const { status, reason } = await call('GET /orders/1', token).catch(failed);
      result.count += 1;
      if (status !== 200) result.wrong.push(`${status} ${reason}`);
      await sleep(5);
    }
  };
  const callers = Promise.all([1, 2, 3, 4].map(caller));
  const stop = async () => {
    // At least one round after whatever happened last.
    await sleep(50);
    going = false;
    await callers;
    return result;
  };
  return { stop };
}

/**
 * Asks with `token` until it is refused. A token by a key that nobody knows makes the gateway look
 * for new keys, at most once in half a minute.
 */
async function untilRefused(token) {
  const deadline = Date.now() + 75_000;
  while (Date.now() < deadline) {
    const unknown = await call('GET /orders/1', byUnknownKey(token));
    assert.deepEqual([unknown.status, unknown.reason], [401, 'unknown_key']);
    const answer = await call('GET /orders/1', token);
    if (answer.status !== 200) return answer;
    await sleep(500);
  }
  throw new Error('the key that is gone is still accepted');
}
