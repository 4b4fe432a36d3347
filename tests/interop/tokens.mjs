// Tokens as clients get them: by the endpoints of the provider's metadata.

import { createHash, randomBytes } from 'node:crypto';

import { Browser } from './browser.mjs';
import { API, MACHINE, REDIRECT, WEB } from './provider.mjs';

/** Client credentials (RFC 6749 §4.4), for a resource (RFC 8707); `null` asks for none. */
export async function machineToken(issuer, { scope = 'orders:read', resource = API } = {}) {
  const form = { grant_type: 'client_credentials', scope, resource };
  const tokens = await ask(issuer, form, { authorization: machineCredentials() });
  return tokens.access_token;
}

/** Takes a machine's token back (RFC 7009). */
export async function takeBack(issuer, token) {
  const { revocation_endpoint } = await metadata(issuer);
  const headers = { authorization: machineCredentials() };
  const response = await fetch(revocation_endpoint, { method: 'POST', headers, body: encode({ token }) });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
}

function machineCredentials() {
  const { client_id, client_secret } = MACHINE;
  return `Basic ${Buffer.from(`${client_id}:${client_secret}`).toString('base64')}`;
}

/** Logs out, as a person does who is sent to the provider for it (RP-Initiated Logout). */
export async function endSession(issuer, browser, idToken) {
  const { end_session_endpoint } = await metadata(issuer);
  const query = encode({ id_token_hint: idToken, post_logout_redirect_uri: REDIRECT });
  const page = await browser.open(`${end_session_endpoint}?${query}`);
  const end = await browser.submit(page, { logout: 'yes' });
  if (!end.url.href.startsWith(REDIRECT)) throw new Error(`no logout: ${end.status} ${end.text}`);
}

export const newBrowser = () => new Browser(REDIRECT);

/** Authorization code with PKCE (RFC 7636), as a browser would carry it. */
export async function personTokens(issuer, options = {}) {
  const { scope = 'openid orders:read', resource = API, browser = newBrowser() } = options;
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
  const page = await browser.open(`${authorization_endpoint}?${query}`);
  if (page.text) throw new Error(`no code came back: ${page.status} ${page.text}`);
  const back = page.url;
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

function encode(values) {
  const sent = Object.entries(values).filter(([, value]) => value !== null);
  return new URLSearchParams(sent);
}
