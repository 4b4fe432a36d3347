// Tokens as clients get them: by the endpoints of the provider's metadata.

import { createHash, randomBytes } from 'node:crypto';

import { API, MACHINE, REDIRECT, WEB } from './provider.mjs';

/** Client credentials (RFC 6749 §4.4), for a resource (RFC 8707); `null` asks for none. */
export async function machineToken(issuer, { scope = 'orders:read', resource = API } = {}) {
  const { client_id, client_secret } = MACHINE;
  const credentials = Buffer.from(`${client_id}:${client_secret}`).toString('base64');
  const form = { grant_type: 'client_credentials', scope, resource };
  const tokens = await ask(issuer, form, { authorization: `Basic ${credentials}` });
  return tokens.access_token;
}

/** Authorization code with PKCE (RFC 7636), as a browser would carry it. */
export async function personTokens(issuer, { scope = 'openid orders:read', resource = API } = {}) {
  const verifier = randomBytes(32).toString('base64url');
  const challenge = createHash('sha256').update(verifier).digest('base64url');
  const state = randomBytes(8).toString('hex');
  const { authorization_endpoint } = await metadata(issuer);
  const query = encode({
    response_type: 'code',
    client_id: WEB,
    redirect_uri: REDIRECT,
    scope,
    resource,
    state,
    code_challenge: challenge,
    code_challenge_method: 'S256',
  });
  const back = await browse(`${authorization_endpoint}?${query}`);
  if (back.searchParams.get('state') !== state || !back.searchParams.has('code')) {
    throw new Error(`no code came back: ${back.search}`);
  }
  return ask(issuer, {
    grant_type: 'authorization_code',
    client_id: WEB,
    redirect_uri: REDIRECT,
    code: back.searchParams.get('code'),
    code_verifier: verifier,
    resource,
  });
}

/** The claims and header, unverified. */
export function decode(token) {
  const [header, claims] = token.split('.').map((part) => Buffer.from(part, 'base64url'));
  return { header: JSON.parse(header), claims: JSON.parse(claims) };
}

async function metadata(issuer) {
  const response = await fetch(`${issuer}/.well-known/openid-configuration`);
  return response.json();
}

async function ask(issuer, form, headers = {}) {
  const { token_endpoint } = await metadata(issuer);
  const response = await fetch(token_endpoint, { method: 'POST', headers, body: encode(form) });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${answer.error}: ${answer.error_description}`);
  return answer;
}

/** Follows redirects with cookies until they lead to the client. */
async function browse(start) {
  const cookies = new Map();
  let url = new URL(start);
  for (let step = 0; step < 10; step += 1) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(url, { redirect: 'manual', headers: { cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [name, value] = line.split(';')[0].split(/=(.*)/s);
      cookies.set(name, value);
    }
    const location = response.headers.get('location');
    if (!location) throw new Error(`${url.pathname} answered ${response.status}: ${await response.text()}`);
    url = new URL(location, url);
    if (url.href.startsWith(REDIRECT)) return url;
  }
  throw new Error('too many redirects');
}

function encode(values) {
  const sent = Object.entries(values).filter(([, value]) => value !== null);
  return new URLSearchParams(sent);
}
