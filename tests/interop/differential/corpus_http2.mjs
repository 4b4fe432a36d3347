// The same requests as HTTP/2 carries them, half of them with something that only its frames can say.

import { corpus } from './corpus.mjs';
import { CRLF, EVIL, FAR } from './marks.mjs';
import { seeded } from './random.mjs';

/** `count` requests, each for one of `hosts`; `http2` gives the fields and the body of one, with a token. */
export function corpusHttp2(seed, count, hosts) {
  return corpus(seed, count, hosts).map((one, index) => {
    const random = seeded(seed * 7_000_003 + index);
    const request = asHttp2(one, random);
    if (random.chance(0.5)) random.pick(TWISTS)(request, random);
    const http2 = (token) => {
      const credentials = token ? [['authorization', `Bearer ${token}`]] : [];
      return { ...request, fields: [...request.pseudo, ...request.fields, ...credentials] };
    };
    return { ...one, meant: null, http2 };
  });
}

function asHttp2({ method, target, host, fields, raw }, random) {
  const lower = fields.map(([name, value]) => [name.toLowerCase(), value]);
  const kept = random.chance(0.7) ? lower.filter(isLegal) : lower;
  const pseudo = [[':method', method], [':scheme', 'https'], [':authority', host], [':path', target]];
  return { pseudo, fields: kept, body: raw === '' ? null : raw, trailers: null };
}

/** Whether HTTP/2 may carry a field (RFC 9113 §8.2). */
function isLegal([name, value]) {
  const ofConnection = /^(connection|upgrade|transfer-encoding|te|content-length|http2-settings|expect|host)$/.test(name);
  return !ofConnection && /^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name) && /^[\t -~\u0080-\uffff]*$/.test(value);
}

const INNER = ` HTTP/1.1${CRLF}Host: a${CRLF}X-Case: h1${CRLF}X-Auth-Subject: ${EVIL}${CRLF}${CRLF}GET /admin`;
const FORGED = `${CRLF}X-Auth-Subject: ${EVIL}`;
const PSEUDO = {
  ':path': [
    '/open#/admin', '/admin#', `/open${INNER}`, '/open x', '/open\t', '/open?a b', '/open?\u00e9', '/open?"', '/open\u00e9', '', '*', 'open',
    'http://x.test/admin', '//admin', '?x', '/open?\x7f', '/open\0', '/admin\r', '/open?x HTTP/1.1',
  ],
  ':method': ['GET /admin HTTP/1.1\r\nX: y', 'DELETE ', ' DELETE', 'delete', 'GET\t/admin', 'CONNECT', '', 'G@T', 'OPTIONS'],
  ':scheme': ['http', 'ftp', 'https://x/admin?', '', 'HTTPS', `http${FORGED}`, 'javascript'],
  ':authority': ['admin.x.test', 'u@admin.x.test', `a${FORGED}`, 'a b', '', `${EVIL}.test`, 'a/admin', 'a:b', 'a#b', 'a?b'],
};

const TWISTS = [
  ...Object.entries(PSEUDO).map(([name, values]) => (request, random) => {
    request.pseudo = request.pseudo.map(([key, value]) => [key, key === name ? random.pick(values) : value]);
  }),
  (request) => {
    request.pseudo = request.pseudo.filter(([name]) => name !== ':authority');
    request.fields.push(['host', 'admin.x.test']);
  },
  (request) => { request.fields.push(['host', 'admin.x.test']); },
  (request, random) => { request.fields.push([random.pick([':path', ':method', ':authority', ':status', ':x', ':']), '/admin']); },
  (request) => { request.pseudo.push([':path', '/admin']); },
  (request) => { request.pseudo.push([':protocol', 'websocket']); },
  (request, random) => {
    const name = random.pick(['connection', 'transfer-encoding', 'upgrade', 'keep-alive', 'proxy-connection', 'te', 'content-length']);
    request.fields.push([name, random.pick(['chunked', 'x-auth-subject', '0', '3', '5, 5', 'h2c', 'trailers, x', '99'])]);
  },
  (request, random) => {
    const name = random.pick([`x${CRLF}x-auth-subject`, 'x: y', 'x y', 'X-Auth-Subject', 'x\0', '', ' x-auth-subject', 'x-auth-subject:', 'x_auth_subject']);
    request.fields.push([name, EVIL]);
  },
  (request, random) => {
    const value = random.pick([`a${FORGED}`, `a\nX-Auth-Subject: ${EVIL}`, `a\rX-Auth-Subject: ${EVIL}`, 'a\0b', ' a', 'a ', 'a\u0085', '\x7f']);
    request.fields.push([random.pick(['x-a', 'cookie']), value]);
  },
  (request) => { request.fields.push(['cookie', 'a=1;'], ['cookie', 'b=2']); },
  (request) => {
    request.body ??= 'hello';
    request.trailers = [['x-auth-subject', EVIL], ['x-forwarded-for', FAR], ['content-length', '3']];
  },
  (request) => { Object.assign(request, { body: 'hello', trailers: [[':path', '/admin']] }); },
  (request, random) => {
    request.body = 'hello';
    request.fields.push(['content-length', random.pick(['5', '4', '6', '0', '+5', '05', '5,5', ''])]);
  },
];
