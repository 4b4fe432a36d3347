// Keycloak from its distribution archive, on loopback, with the realm of realm.json in memory, and
// its administration.

import { spawn } from 'node:child_process';
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { Browser } from './browser.mjs';
import { until } from './calls.mjs';
import { freeAddress } from './gateway.mjs';

export const REDIRECT = 'http://127.0.0.1:9/callback';
export const MACHINE = { client_id: 'nightly', client_secret: 'nightly-secret' };
export const GATEWAY = { client_id: 'orders-api', client_secret: 'p@ss:w/o% +&' };

const ADMIN = { username: 'admin', password: 'admin-password' };
const START_SECONDS = 240;

/** Starts the server that is unpacked in `home`; it tells `logoutUrl` of sessions that end. */
export async function startKeycloak(home, logoutUrl) {
  await mkdir(join(home, 'data/import'), { recursive: true });
  await copyFile(new URL('realm.json', import.meta.url), join(home, 'data/import/acme-realm.json'));
  const address = await freeAddress();
  const server = spawnServer(home, address, logoutUrl);
  const base = `http://${address}`;
  try {
    await until(START_SECONDS, async () => {
      if (server.isOver()) throw new Error('Keycloak ended');
      const response = await fetch(`${base}/realms/acme`).catch(() => null);
      return response?.ok ? true : null;
    });
  } catch (error) {
    await server.close();
    throw new Error(`${error.message}\n${server.output()}`);
  }
  return { ...realm(base), ...server };
}

function spawnServer(home, address, logoutUrl) {
  const [host, port] = address.split(':');
  const options = ['start-dev', '--import-realm', '--db=dev-mem', `--http-host=${host}`, `--http-port=${port}`];
  const child = spawn(join(home, 'bin/kc.sh'), options, {
    // A group of its own: the script starts Java more than once.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      KC_BOOTSTRAP_ADMIN_USERNAME: ADMIN.username,
      KC_BOOTSTRAP_ADMIN_PASSWORD: ADMIN.password,
      JAVA_OPTS_KC_HEAP: '-Xms256m -Xmx1g',
      LOGOUT_URL: logoutUrl,
    },
  });
  let output = '';
  let over = false;
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => { output = (output + text).slice(-20_000); });
  }
  const ended = new Promise((done) => child.on('close', done).on('error', done)).then(() => { over = true; });
  const end = (signal) => { try { process.kill(-child.pid, signal); } catch { /* it has ended */ } };
  const kill = () => end('SIGKILL');
  process.once('exit', kill);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
  const close = async () => {
    end('SIGTERM');
    const timer = setTimeout(kill, 15_000);
    await ended;
    clearTimeout(timer);
    process.off('exit', kill);
  };
  return { close, output: () => output, isOver: () => over };
}

function realm(base) {
  const url = `${base}/realms/acme`;
  const endpoint = (name) => `${url}/protocol/openid-connect/${name}`;

  const person = (client_id, username = 'alice', scope = 'openid orders:read') =>
    post(endpoint('token'), { grant_type: 'password', client_id, username, password: `${username}-password`, scope });

  const machine = async (scope = 'orders:read') =>
    (await post(endpoint('token'), { grant_type: 'client_credentials', ...MACHINE, scope })).access_token;

  /** Logs alice in as a browser does, on the login page. */
  async function login(browser, scope = 'openid orders:read') {
    const query = { response_type: 'code', client_id: 'web-app', redirect_uri: REDIRECT, scope };
    const page = await browser.open(`${endpoint('auth')}?${new URLSearchParams(query)}`);
    const { url: back } = await browser.submit(page, { username: 'alice', password: 'alice-password' });
    const code = back.searchParams.get('code');
    if (!code) throw new Error(`no code came back: ${back}`);
    return post(endpoint('token'), { grant_type: 'authorization_code', client_id: 'web-app', redirect_uri: REDIRECT, code });
  }

  async function logout(browser, idToken) {
    const query = { id_token_hint: idToken, post_logout_redirect_uri: REDIRECT };
    const end = await browser.open(`${endpoint('logout')}?${new URLSearchParams(query)}`);
    if (!end.url.href.startsWith(REDIRECT)) throw new Error(`no logout: ${end.status} ${end.text}`);
  }

  return { url, person, machine, login, logout, newBrowser: () => new Browser(REDIRECT), admin: administration(base) };
}

function administration(base) {
  async function ask(method, path, body) {
    const { access_token } = await post(`${base}/realms/master/protocol/openid-connect/token`, {
      grant_type: 'password', client_id: 'admin-cli', ...ADMIN,
    });
    const headers = { authorization: `Bearer ${access_token}`, 'content-type': 'application/json' };
    const response = await fetch(`${base}/admin/realms/acme${path}`, { method, headers, body: body && JSON.stringify(body) });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }
  const user = async (username) => (await ask('GET', `/users?exact=true&username=${username}`))[0];

  return {
    enable: async (username, enabled) => ask('PUT', `/users/${(await user(username)).id}`, { enabled }),
    endSession: (sid) => ask('DELETE', `/sessions/${sid}`),
    /** All sessions of a person. */
    logOut: async (username) => ask('POST', `/users/${(await user(username)).id}/logout`),
    keyProviders: async () => {
      const found = await ask('GET', '/components?type=org.keycloak.keys.KeyProvider');
      return found.filter(({ providerId }) => providerId === 'rsa-generated');
    },
    /** A new RSA key, which signs from now on. */
    addKey: async (name) => ask('POST', '/components', {
      name,
      providerId: 'rsa-generated',
      providerType: 'org.keycloak.keys.KeyProvider',
      parentId: (await ask('GET', '')).id,
      config: { priority: ['200'], algorithm: ['RS256'], keySize: ['2048'], enabled: ['true'], active: ['true'] },
    }),
    removeKey: (id) => ask('DELETE', `/components/${id}`),
  };
}

async function post(url, form) {
  const response = await fetch(url, { method: 'POST', body: new URLSearchParams(form) });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${answer.error}: ${answer.error_description}`);
  return answer;
}
