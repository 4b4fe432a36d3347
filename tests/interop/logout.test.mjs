// Back-channel logout: a session ends at the provider, which tells the gateway.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { calls, decode, until } from './calls.mjs';
import { startBackend, startGateway } from './gateway.mjs';
import { startPostbox } from './postbox.mjs';
import { API, GATEWAY, OPAQUE_API, WEB, newKey, startProvider } from './provider.mjs';
import { endSession, machineToken, newBrowser, personTokens } from './tokens.mjs';

let provider, backend, gateway, postbox;

before(async () => {
  postbox = await startPostbox();
  provider = await startProvider({ keys: [newKey('first')], logoutUrl: postbox.url });
  backend = await startBackend();
  gateway = await startGateway(process.env.SCOPEGATE_BIN, policy);
  postbox.deliverTo = `${gateway.url}/signed-out`;
});
after(async () => {
  await Promise.all([gateway, backend, provider, postbox].map((started) => started?.close()));
});

const policy = ({ listen, admin }) => `
# scopegate: allow A102, A151
listen: ${listen}
admin: ${admin}
issuers:
  main:
    url: ${provider.url}
    audience: [${API}, ${OPAQUE_API}]
    preset: oidc-provider
    introspection: true
    cache: 10m
    client_id: ${GATEWAY.client_id}
    client_secret: "${GATEWAY.client_secret}"
    backchannel_logout: { path: /signed-out, audience: ${WEB} }
revocation: {}
upstream: ${backend.url}
errors: { detail: full }
routes:
  /orders/**: { GET: orders:read }
`;

const { passes, refused } = calls(() => ({ gateway, backend }));

test("a session's end refuses its tokens, the remembered ones too, and no others", async () => {
  const [here, elsewhere] = [newBrowser(), newBrowser()];
  const { id_token, access_token: jwt } = await personTokens(provider.url, { browser: here });
  const { access_token: opaque } = await personTokens(provider.url, { browser: here, resource: OPAQUE_API });
  const { access_token: other } = await personTokens(provider.url, { browser: elsewhere, resource: OPAQUE_API });
  const machine = await machineToken(provider.url);
  for (const token of [jwt, opaque, other, machine]) await passes('GET /orders/1', token);

  await endSession(provider.url, here, id_token);

  assert.deepEqual(postbox.letters.map(({ status, answer }) => [status, answer]), [[200, '']]);
  const { header, claims } = decode(postbox.letters[0].token);
  assert.equal(header.typ, 'logout+jwt');
  assert.equal(claims.sid, decode(id_token).claims.sid);
  await refused('GET /orders/1', opaque, 401, 'token_revoked');
  // This provider's JWTs do not say of which session they are.
  assert.equal(decode(jwt).claims.sid, undefined);
  await refused('GET /orders/1', jwt, 401, 'token_revoked');
  await passes('GET /orders/1', machine);
  await passes('GET /orders/1', other);
});

test('who logs in again gets in again', async () => {
  // Times in tokens are whole seconds: the one of the logout is over soon.
  const { answer } = await until(5, async () => {
    const { access_token } = await personTokens(provider.url);
    const loggedOut = decode(postbox.letters[0].token).claims.iat;
    return decode(access_token).claims.iat > loggedOut ? access_token : null;
  });
  await passes('GET /orders/1', answer);
});

test('a logout token that comes again, and an ID token in its place, are refused', async () => {
  const post = async (token) => {
    const body = new URLSearchParams({ logout_token: token });
    const response = await fetch(postbox.deliverTo, { method: 'POST', body });
    return [response.status, (await response.json()).error];
  };
  assert.deepEqual(await post(postbox.letters[0].token), [400, 'invalid_request']);
  const { id_token, access_token } = await personTokens(provider.url);
  for (const token of [id_token, access_token]) {
    assert.deepEqual(await post(token), [400, 'invalid_request']);
  }
  await passes('GET /orders/1', access_token);
});
