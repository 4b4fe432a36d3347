// Opaque tokens: the provider is asked about them (RFC 7662), and takes them back (RFC 7009).

import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { after, before, beforeEach, test } from 'node:test';

import { calls, until } from './calls.mjs';
import { startBackend, startGateway } from './gateway.mjs';
import { GATEWAY, GATEWAY_BY_KEY, OPAQUE_API, newKey, startProvider } from './provider.mjs';
import { machineToken, personTokens, takeBack } from './tokens.mjs';

const CACHE_SECONDS = 1;
const { d, ...publicKey } = newKey('gateway-key');
const gatewayKey = createPrivateKey({ key: { ...publicKey, d }, format: 'jwk' });
let provider, backend, gateway;

before(async () => {
  provider = await startProvider({ keys: [newKey('first')], gatewayKey: publicKey });
  backend = await startBackend();
  gateway = await startGateway(process.env.SCOPEGATE_BIN, policy);
});
after(async () => {
  await Promise.all([gateway, backend, provider].map((started) => started?.close()));
});
beforeEach(() => {
  backend.seen.length = 0;
  provider.counts.introspections = 0;
});

const policy = ({ listen, admin }) => policyOf({ listen, admin }, `
    client_id: ${GATEWAY.client_id}
    client_secret: "${GATEWAY.client_secret}"`);

const policyOf = ({ listen, admin }, credentials) => `
# scopegate: allow A102
listen: ${listen}
admin: ${admin}
issuers:
  main:
    url: ${provider.url}
    audience: [${OPAQUE_API}, http://api.test/]
    preset: oidc-provider
    introspection: true
    cache: ${CACHE_SECONDS}s
    negative_cache: 1s${credentials}
upstream: ${backend.url}
errors: { detail: full }
routes:
  /orders/**:
    GET: orders:read
    POST: orders:write
  /profile:
    GET: { scope: orders:read, token: user }
  /jobs:
    POST: { scope: orders:write, token: client }
  /payments:
    introspect: always
    GET: orders:read
`;

const { call, passes, refused } = calls(() => ({ gateway, backend }));
const opaque = (scope = 'orders:read') => machineToken(provider.url, { resource: OPAQUE_API, scope });
const ofPerson = async (scope) => (await personTokens(provider.url, { resource: OPAQUE_API, scope })).access_token;

test('many requests with one opaque token are one question', async () => {
  const token = await opaque();
  assert.equal(token.split('.').length, 1);
  const answers = await Promise.all(Array.from({ length: 100 }, () => call('GET /orders/1', token)));
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
  assert.equal(provider.counts.introspections, 1);
});

test('the answer is remembered for its time, and scopes decide anew on each route', async () => {
  const token = await opaque();
  await passes('GET /orders/1', token);
  await refused('POST /orders', token, 403, 'missing_scope');
  assert.equal(provider.counts.introspections, 1);
  const asked = () => (provider.counts.introspections > 1 ? true : null);
  await until(10, async () => (await passes('GET /orders/1', token)) && asked());
  assert.equal(provider.counts.introspections, 2);
});

test('people and machines are told apart by the answer', async () => {
  const [machine, person] = [await opaque('orders:read orders:write'), await ofPerson('openid orders:read orders:write')];
  const { headers } = await passes('GET /profile', person);
  assert.deepEqual([headers['x-auth-subject'], headers['x-auth-client'], headers['x-auth-kind']], ['alice', 'web-app', 'user']);
  const job = await passes('POST /jobs', machine);
  assert.deepEqual([job.headers['x-auth-client'], job.headers['x-auth-kind']], ['nightly', 'client']);
  await refused('GET /profile', machine, 403, 'wrong_token_kind');
  await refused('POST /jobs', person, 403, 'wrong_token_kind');
});

test('what the provider does not know, and what is not for this API, is refused', async () => {
  await refused('GET /orders/1', 'nobody-ever-issued-this', 401, 'token_inactive');
  const forNoApi = await machineToken(provider.url, { resource: null, scope: null });
  await refused('GET /orders/1', forNoApi, 401, 'wrong_audience');
});

test('a refresh token is active, and still no access token', async () => {
  const { refresh_token } = await personTokens(provider.url, { resource: OPAQUE_API });
  assert.ok(refresh_token);
  const { status, challenge } = await call('GET /orders/1', refresh_token);
  assert.equal(status, 401);
  assert.match(challenge, /error="invalid_token"/);
  assert.equal(backend.seen.length, 0);
  assert.equal(provider.counts.introspections, 1);
});

test('a token that was taken back is refused when the answer is old', async (t) => {
  const token = await opaque();
  await passes('GET /orders/1', token);
  await takeBack(provider.url, token);
  const { answer, took } = await until(10, async () => {
    const found = await call('GET /orders/1', token);
    return found.status === 200 ? null : found;
  });
  assert.deepEqual([answer.status, answer.reason], [401, 'token_inactive']);
  assert.ok(took < CACHE_SECONDS * 1000 + 500, `${took} ms`);
  t.diagnostic(`refused ${took} ms after it was taken back; answers are kept for ${CACHE_SECONDS} s`);
});

// This provider answers 400 to questions about JWTs, which is not knowing: never a pass, nor a word
// against the token. Others' questions must not suffer from it.
test('a route that always asks is closed to JWTs that the provider does not answer about', async () => {
  const jwts = await Promise.all(Array.from({ length: 8 }, () => machineToken(provider.url)));
  for (const jwt of jwts) {
    const { retry } = await refused('GET /payments', jwt, 503, 'auth_unavailable');
    assert.ok(Number(retry) > 0, retry);
  }
  await passes('GET /orders/1', jwts[0]);
  await passes('GET /payments', await opaque());
});

test('the gateway authenticates by a key, and answers are signed (RFC 9701)', async (t) => {
  const files = { 'client.pem': gatewayKey.export({ type: 'pkcs8', format: 'pem' }) };
  const byKey = (addresses) => policyOf(addresses, `
    client_id: ${GATEWAY_BY_KEY}
    client_key: client.pem
    client_key_id: gateway-key
    introspection_signed: true`);
  const second = await startGateway(process.env.SCOPEGATE_BIN, byKey, files);
  t.after(second.close);
  const through = calls(() => ({ gateway: second, backend }));
  await through.passes('GET /orders/1', await opaque());
  assert.equal(provider.counts.introspections, 1);
  await through.refused('GET /orders/1', 'nobody-ever-issued-this', 401, 'token_inactive');
});

test('when the provider is gone nobody new gets in, and it is not the token that is blamed', async () => {
  const known = await opaque();
  await passes('GET /orders/1', known);
  const unseen = await opaque();
  await provider.close();
  const { challenge } = await refused('GET /orders/1', unseen, 503, 'auth_unavailable');
  assert.equal(challenge, null);
});
