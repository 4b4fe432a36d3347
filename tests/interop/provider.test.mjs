// That the provider gives what the other tests build on; needs no gateway.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { decode } from './calls.mjs';
import { API, OTHER_API, newKey, startProvider } from './provider.mjs';
import { machineToken, personTokens } from './tokens.mjs';

let provider;
before(async () => { provider = await startProvider({ keys: [newKey('one')] }); });
after(() => provider.close());

test('client credentials give a JWT whose subject is the client', async () => {
  const { header, claims } = decode(await machineToken(provider.url, { scope: 'orders:write' }));
  assert.deepEqual([header.typ, header.alg, header.kid], ['at+jwt', 'ES256', 'one']);
  assert.deepEqual([claims.iss, claims.aud, claims.scope], [provider.url, API, 'orders:write']);
  assert.equal(claims.sub, claims.client_id);
});

test('a code with PKCE gives a JWT whose subject is the person', async () => {
  const { claims } = decode((await personTokens(provider.url)).access_token);
  assert.deepEqual([claims.sub, claims.client_id, claims.aud], ['alice', 'web-app', API]);
  assert.equal(claims.scope, 'orders:read');
});

test('another resource is another audience, and none is an opaque token', async () => {
  const other = await machineToken(provider.url, { resource: OTHER_API });
  assert.equal(decode(other).claims.aud, OTHER_API);
  const opaque = await machineToken(provider.url, { resource: null, scope: null });
  assert.equal(opaque.split('.').length, 1);
});

test('a provider that comes back on its port with new keys signs with the first', async () => {
  const [old, next] = [newKey('old'), newKey('next')];
  const first = await startProvider({ keys: [old] });
  await first.close();
  const second = await startProvider({ port: first.port, keys: [next, old] });
  try {
    assert.equal(second.url, first.url);
    assert.equal(decode(await machineToken(second.url)).header.kid, 'next');
    const { keys } = await (await fetch(`${second.url}/jwks`)).json();
    assert.deepEqual(keys.map((key) => key.kid).sort(), ['next', 'old']);
    assert.ok(keys.every((key) => key.d === undefined));
  } finally {
    await second.close();
  }
});
