// A real authorization server: npm's oidc-provider, on loopback, with one person and two clients.

import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

// oidc-provider 9 uses it; Node has it since 22.1.
URL.parse ??= (text, base) => (URL.canParse(text, base) ? new URL(text, base) : null);
const { default: Provider } = await import('oidc-provider');

/** The API that the gateway guards, and another one. */
export const API = 'http://api.test/';
export const OTHER_API = 'http://other.test/';
/** The same, but with opaque tokens, which only the provider can read. */
export const OPAQUE_API = 'http://opaque.test/';
export const REDIRECT = 'http://127.0.0.1:9/callback';
export const MACHINE = { client_id: 'nightly', client_secret: 'nightly-secret' };
export const WEB = 'web-app';
/** Who asks about tokens: with characters that Basic must encode, and with a key instead. */
export const GATEWAY = { client_id: 'gate+way:1', client_secret: 'p@ss:w/o% +&=' };
export const GATEWAY_BY_KEY = 'gateway-by-key';

const SCOPES = 'orders:read orders:write';

/** A private signing key as a JWK. */
export function newKey(kid) {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), kid, alg: 'ES256', use: 'sig' };
}

/**
 * Starts a provider; the first key signs, all are published. `port` 0 takes a free one. `logoutUrl`
 * is told of sessions that end, `gatewayKey` is the public key of the gateway that has one. `counts`
 * are the requests for the key set and the questions about tokens.
 */
export async function startProvider({ port = 0, keys, logoutUrl, gatewayKey }) {
  const server = createServer();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(url, configuration(keys, { logoutUrl, gatewayKey }));
  const answer = provider.callback();
  provider.on('backchannel.error', (_, error) => console.error('a logout was not delivered:', error));
  const counts = { keys: 0, introspections: 0 };
  server.on('request', (request, response) => {
    if (request.url === '/jwks') counts.keys += 1;
    if (request.url === '/token/introspection') counts.introspections += 1;
    // A client must not find a connection to a provider that is no more.
    response.shouldKeepAlive = false;
    if (request.url.startsWith('/interaction/')) {
      signIn(provider, request, response);
    } else {
      answer(request, response);
    }
  });
  return { url, port: server.address().port, counts, close: () => close(server) };
}

async function close(server) {
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}

function configuration(keys, { logoutUrl, gatewayKey }) {
  return {
    jwks: { keys },
    scopes: ['openid'],
    cookies: { keys: ['interop'] },
    // As it is, but it may reach loopback, where the gateway is.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
    clientDefaults: { id_token_signed_response_alg: 'ES256', introspection_signed_response_alg: 'ES256' },
    clients: [
      {
        ...MACHINE,
        grant_types: ['client_credentials'],
        response_types: [],
        redirect_uris: [],
        token_endpoint_auth_method: 'client_secret_basic',
      },
      {
        client_id: WEB,
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        redirect_uris: [REDIRECT],
        post_logout_redirect_uris: [REDIRECT],
        token_endpoint_auth_method: 'none',
        ...(logoutUrl && { backchannel_logout_uri: logoutUrl, backchannel_logout_session_required: true }),
      },
      { ...GATEWAY, ...ASKS_ONLY, token_endpoint_auth_method: 'client_secret_basic' },
      ...(gatewayKey ? [byKey(gatewayKey)] : []),
    ],
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    // Consent is not what is tested: whatever a client asks for is granted.
    loadExistingGrant: async (ctx) => {
      const grant = new ctx.oidc.provider.Grant({
        clientId: ctx.oidc.client.clientId,
        accountId: ctx.oidc.session.accountId,
      });
      grant.addOIDCScope('openid');
      for (const resource of [API, OTHER_API, OPAQUE_API]) grant.addResourceScope(resource, SCOPES);
      await grant.save();
      return grant;
    },
    issueRefreshToken: (_, client) => client.grantTypeAllowed('refresh_token'),
    features: {
      devInteractions: { enabled: false },
      introspection: { enabled: true },
      jwtIntrospection: { enabled: true },
      revocation: { enabled: true },
      backchannelLogout: { enabled: true },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        // Without a resource, tokens are opaque.
        defaultResource: (_, __, oneOf) => oneOf,
        useGrantedResource: () => true,
        getResourceServerInfo: (_, resource) => ({
          scope: SCOPES,
          audience: resource,
          accessTokenTTL: 600,
          ...(resource === OPAQUE_API ? { accessTokenFormat: 'opaque' } : SIGNED),
        }),
      },
    },
    ttl: { AccessToken: 600, ClientCredentials: 600, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
  };
}

function byKey(key) {
  return {
    client_id: GATEWAY_BY_KEY,
    ...ASKS_ONLY,
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: 'ES256',
    jwks: { keys: [key] },
  };
}

const ASKS_ONLY = { grant_types: [], response_types: [], redirect_uris: [] };

const SIGNED = { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } };

/** The login page: nobody but alice ever comes. */
async function signIn(provider, request, response) {
  try {
    const result = { login: { accountId: 'alice' } };
    await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
  } catch (error) {
    response.writeHead(500).end(String(error));
  }
}
