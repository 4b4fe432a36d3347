// The gateway in front of a backend, with the tokens of a Keycloak.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { byUnknownKey, calls, decode, until } from './calls.mjs';
import { startBackend, startGateway } from './gateway.mjs';
import { GATEWAY, startKeycloak } from './keycloak.mjs';
import { startPostbox } from './postbox.mjs';

const CACHE_SECONDS = 1;
let keycloak, backend, gateway, postbox;

before(async () => {
  postbox = await startPostbox();
  const begun = Date.now();
  keycloak = await startKeycloak(process.env.KEYCLOAK_HOME, postbox.url);
  console.log(`Keycloak was ready after ${Math.round((Date.now() - begun) / 1000)} s`);
  backend = await startBackend();
  gateway = await startGateway(process.env.SCOPEGATE_BIN, policy);
  postbox.deliverTo = `${gateway.url}/signed-out`;
}, { timeout: 300_000 });
after(async () => {
  await Promise.all([gateway, backend, keycloak, postbox].map((started) => started?.close()));
});

const policy = ({ listen, admin }) => `
# scopegate: allow A102, A151
listen: ${listen}
admin: ${admin}
issuers:
  main:
    url: ${keycloak.url}
    audience: orders-api
    preset: keycloak
    leeway: 1s
    introspection: true
    client_id: ${GATEWAY.client_id}
    client_secret: "${GATEWAY.client_secret}"
    cache: ${CACHE_SECONDS}s
    backchannel_logout: { path: /signed-out, audience: [web-app, terminal] }
revocation: {}
upstream: ${backend.url}
errors: { detail: full }
routes:
  /open: { public: true }
  /orders/**:
    GET: orders:read
    POST: orders:write
  /people: { allow: { token: user } }
  /machines: { allow: { token: client } }
  /realm-role: { allow: { role: customer } }
  /client-role: { allow: { role: "orders-api:orders-read" } }
  /payments: { introspect: always, GET: orders:read }
`;

const { call, passes, refused } = calls(() => ({ gateway, backend }));
const tokenOf = async (...who) => (await keycloak.person(...who)).access_token;

/** Calls until the answer is not a pass. */
const untilRefused = (seconds, line, token) => until(seconds, async () => {
  const answer = await call(line, token);
  return answer.status === 200 ? null : answer;
});

test('people and machines pass and are told apart', async (t) => {
  const [person, machine] = [await tokenOf('web-app'), await keycloak.machine()];
  t.diagnostic(`person: ${shape(person)}`);
  t.diagnostic(`machine: ${shape(machine)}`);
  const { headers } = await passes('GET /orders/1', person);
  const { sub } = decode(person).claims;
  assert.deepEqual([headers['x-auth-subject'], headers['x-auth-client'], headers['x-auth-kind']], [sub, 'web-app', 'user']);
  const byMachine = await passes('GET /orders/1', machine);
  assert.deepEqual([byMachine.headers['x-auth-client'], byMachine.headers['x-auth-kind']], ['nightly', 'client']);
  await passes('GET /people', person);
  await passes('GET /machines', machine);
  await refused('GET /people', machine, 403, 'wrong_token_kind');
  await refused('GET /machines', person, 403, 'wrong_token_kind');
});

test('a person who came by the login page passes, too', async () => {
  const { access_token } = await keycloak.login(keycloak.newBrowser());
  await passes('GET /orders/1', access_token);
  await passes('GET /people', access_token);
});

test('scopes decide what may be done', async () => {
  await refused('GET /orders/1', await tokenOf('web-app', 'alice', 'openid'), 403, 'missing_scope');
  await refused('POST /orders', await keycloak.machine(), 403, 'missing_scope');
  await passes('POST /orders', await keycloak.machine('orders:write'));
  await refused('GET /orders/1', null, 401, 'missing_token');
});

test('roles of the realm and of a client are read', async () => {
  const [alice, bob] = [await tokenOf('web-app', 'alice'), await tokenOf('web-app', 'bob')];
  await passes('GET /realm-role', alice);
  await passes('GET /client-role', alice);
  await refused('GET /realm-role', bob, 403, 'missing_role');
  await refused('GET /client-role', bob, 403, 'missing_role');
  const machine = await keycloak.machine();
  await passes('GET /client-role', machine);
  await refused('GET /realm-role', machine, 403, 'missing_role');
});

test('a token for another API is refused', async () => {
  const token = await tokenOf('billing-app');
  assert.equal(decode(token).claims.aud, 'billing-api');
  await refused('GET /orders/1', token, 401, 'wrong_audience');
});

test('an ID token and a refresh token are refused', async (t) => {
  const { id_token, refresh_token } = await keycloak.person('web-app');
  t.diagnostic(`ID token: ${shape(id_token)}`);
  t.diagnostic(`refresh token: ${shape(refresh_token)}`);
  for (const line of ['GET /orders/1', 'GET /payments']) {
    for (const token of [id_token, refresh_token]) {
      const reached = backend.seen.length;
      const { status, challenge } = await call(line, token);
      assert.equal(status, 401, line);
      assert.match(challenge, /error="invalid_token"/);
      assert.equal(backend.seen.length, reached, `${line} reached the backend`);
    }
  }
});

test('a changed token is refused', async () => {
  const [header, , signature] = (await keycloak.machine()).split('.');
  const claims = { ...decode(await keycloak.machine()).claims, scope: 'orders:write' };
  const forged = [header, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.');
  await refused('POST /orders', forged, 401, 'bad_signature');
});

test('a person who is disabled is refused where Keycloak is always asked, and elsewhere at exp', async (t) => {
  const [token, brief] = [await tokenOf('web-app', 'bob'), await tokenOf('brief', 'bob')];
  for (const line of ['GET /payments', 'GET /orders/1']) await passes(line, token);
  await passes('GET /payments', brief);
  await keycloak.admin.enable('bob', false);
  const { answer, took } = await untilRefused(10, 'GET /payments', token);
  t.diagnostic(`refused ${took} ms after; answers are kept for ${CACHE_SECONDS} s`);
  assert.deepEqual([answer.status, answer.reason], [401, 'token_inactive']);
  assert.ok(took < CACHE_SECONDS * 1000 + 1000, `${took} ms`);
  await passes('GET /orders/1', token);
  const { answer: late } = await untilRefused(15, 'GET /orders/1', brief);
  assert.deepEqual([late.status, late.reason], [401, 'token_expired']);
  await passes('GET /orders/1', token);
  await keycloak.admin.enable('bob', true);
});

test('a session that an administrator ends is refused where Keycloak is always asked', async () => {
  const [token, other] = [await tokenOf('kiosk'), await tokenOf('kiosk')];
  for (const one of [token, other]) await passes('GET /payments', one);
  await keycloak.admin.endSession(decode(token).claims.sid);
  const { answer } = await untilRefused(10, 'GET /payments', token);
  assert.deepEqual([answer.status, answer.reason], [401, 'token_inactive']);
  await passes('GET /payments', other);
  await passes('GET /orders/1', token);
});

test("a logout refuses the session's tokens everywhere, and no others", async (t) => {
  const [here, elsewhere] = [keycloak.newBrowser(), keycloak.newBrowser()];
  const { id_token, access_token } = await keycloak.login(here);
  const { access_token: other } = await keycloak.login(elsewhere);
  const machine = await keycloak.machine();
  for (const token of [access_token, other, machine]) await passes('GET /orders/1', token);
  postbox.letters.length = 0;

  await keycloak.logout(here, id_token);

  const { answer: letter } = await until(10, () => postbox.letters[0]);
  t.diagnostic(`logout token: ${shape(letter.token)}`);
  assert.deepEqual([letter.status, letter.answer], [200, '']);
  assert.equal(decode(letter.token).claims.sid, decode(access_token).claims.sid);
  await refused('GET /orders/1', access_token, 401, 'token_revoked');
  await passes('GET /orders/1', other);
  await passes('GET /orders/1', machine);
});

test('an administrator ends one session', async () => {
  const [token, other] = [await tokenOf('web-app'), await tokenOf('web-app')];
  for (const one of [token, other]) await passes('GET /orders/1', one);
  await keycloak.admin.endSession(decode(token).claims.sid);
  const { answer } = await untilRefused(10, 'GET /orders/1', token);
  assert.deepEqual([answer.status, answer.reason], [401, 'token_revoked']);
  await passes('GET /orders/1', other);
});

// Keycloak sends each client one logout token for all of a person's sessions. If the client asks for session ids,
// it names one of them; otherwise it names the person alone, and all the tokens are refused.
test('an administrator logs a person out who has two sessions', async (t) => {
  const tokens = [await tokenOf('terminal', 'bob'), await tokenOf('terminal', 'bob')];
  for (const token of tokens) await passes('GET /orders/1', token);
  postbox.letters.length = 0;
  await keycloak.admin.logOut('bob');
  const isForTerminal = ({ token }) => decode(token).claims.aud === 'terminal';
  const { answer: letter } = await until(10, () => postbox.letters.find(isForTerminal));
  t.diagnostic(`logout token: ${shape(letter.token)}`);
  assert.equal(decode(letter.token).claims.sid, undefined);
  for (const token of tokens) await refused('GET /orders/1', token, 401, 'token_revoked');
  // Times in tokens are whole seconds: the one of the logout is over soon.
  const { answer: fresh } = await until(5, async () => {
    const token = await tokenOf('terminal', 'bob');
    return (await call('GET /orders/1', token)).status === 200 ? token : null;
  });
  await passes('GET /people', fresh);
});

test('a logout token that comes again is refused', async () => {
  const body = new URLSearchParams({ logout_token: postbox.letters[0].token });
  const response = await fetch(postbox.deliverTo, { method: 'POST', body });
  assert.deepEqual([response.status, (await response.json()).error], [400, 'invalid_request']);
});

// The last test: it leaves Keycloak with another key.
test('keys rotate: a new one is good at first sight, and one that is gone is not', { timeout: 120_000 }, async (t) => {
  const [first] = await keycloak.admin.keyProviders();
  const old = await keycloak.machine();
  await passes('GET /orders/1', old);
  await keycloak.admin.addKey('second');
  const next = await keycloak.machine();
  assert.notEqual(decode(next).header.kid, decode(old).header.kid);
  await passes('GET /orders/1', next);
  await passes('GET /orders/1', old);

  await keycloak.admin.removeKey(first.id);
  const { answer, took } = await until(75, async () => {
    assert.equal((await call('GET /orders/1', byUnknownKey(old))).status, 401);
    await passes('GET /orders/1', next);
    const found = await call('GET /orders/1', old);
    return found.status === 200 ? null : found;
  });
  t.diagnostic(`the old key was refused ${Math.round(took / 1000)} s after it was gone`);
  assert.deepEqual([answer.status, answer.reason], [401, 'unknown_key']);
  await passes('GET /orders/1', next);
});

/** What a token looks like, without what is secret or different each time. */
function shape(token) {
  const { header, claims } = decode(token);
  const { typ, aud, azp, scope, events } = claims;
  const said = { typ, aud, azp, scope, events, jti: claims.jti?.replace(/[0-9a-f-]{36}$/, '…') };
  return `${JSON.stringify({ alg: header.alg, typ: header.typ })} ${JSON.stringify(said)} has ${Object.keys(claims).join(' ')}`;
}
