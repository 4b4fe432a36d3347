// Requests that two parsers could read differently, each from a seed of its own.

import { aliases, brokenValue, override } from './fields.mjs';
import { framed } from './framing.mjs';
import { CRLF, EVIL, FAR } from './marks.mjs';
import { seeded } from './random.mjs';
import { PATHS, lookalikes, respelt } from './spellings.mjs';

/** Some requests for each of `hosts` that are the same for every seed, and `count` for one of them each. */
export function corpus(seed, count, hosts) {
  const always = hosts.flatMap((host) => lookalikes().map((target) => ({ host, target, method: 'GET', token: null })));
  const chosen = Array.from({ length: count }, (_, index) => newCase(seeded(seed * 1_000_003 + index), `r${index}`, hosts));
  return [...always.map((one, index) => ({ ...blank(`a${index}`), ...one })), ...chosen];
}

/** What requests have in common. */
function blank(id) {
  return { id, version: 'HTTP/1.1', fields: [['X-Case', id]], raw: '', meant: null, kinds: [] };
}

function newCase(random, id, hosts) {
  const request = {
    ...blank(id),
    method: random.pick(['GET', 'GET', 'POST', 'DELETE', 'PUT', 'HEAD']),
    target: random.pick(PATHS),
    host: random.pick(hosts),
    token: random.pick([null, null, 'reader', 'reader', 'admin']),
  };
  const kinds = [random.pick(KINDS)];
  if (random.chance(0.3)) kinds.push(random.pick(KINDS));
  for (const kind of kinds) kind(request, random);
  // Often the handler leaves the body unread, as one does that has no use for it.
  if (random.chance(0.15)) request.fields.push(['X-Lazy', '1']);
  return { ...request, kinds: kinds.map((kind) => kind.name) };
}

/** A request that must never run unless it is judged by itself: it stands in a body, or behind one. */
function hidden({ id, host }) {
  return ['GET /admin?hidden HTTP/1.1', `Host: ${host}`, `X-Case: h${id}`, `X-Auth-Subject: ${EVIL}`, 'Content-Length: 0', '', ''].join(CRLF);
}

function paths(request, random) {
  request.target = random.pick(PATHS);
  for (let times = 1 + random.below(3); times > 0; times -= 1) request.target = respelt(request.target, random);
  const { host } = request;
  if (random.chance(0.06)) request.target = `http://${host}${request.target}`;
  if (random.chance(0.04)) {
    request.target = random.pick([
      '*', '', 'admin', `http://${host}`, `http://${host}?x`, `https://${host}/admin`, `//${host}/admin`, `HTTP://${host}/admin`,
      `ws://${host}/admin`, 'http:/admin', `http://${host}:80/admin`, `http://u@${host}/admin`, 'http://x.test/admin', '/?/admin', '?/admin',
    ]);
  }
}

function methods(request, random) {
  request.method = random.pick([
    'OPTIONS', 'PATCH', 'PROPFIND', 'LOCK', 'PURGE', 'TRACE', 'CONNECT', 'PRI', 'QUERY', 'M-SEARCH', 'delete', 'Post', 'gET', 'GET\t',
    'G\u00cbT', 'DELETE!', 'X-DELETE', '', 'GETT', 'DELET', "D'ELETE", '_DELETE',
  ]);
}

function hosts(request, random) {
  const { host } = request;
  const guarded = host.replace(/^[^.]+/, 'admin');
  const change = random.pick([
    ...[
      guarded, guarded.toUpperCase(), `${guarded}:80`, `${guarded}:`, `${guarded}.`, `${host}, ${guarded}`, `${host}\t`, `${host}#@${guarded}`,
      `${host}:80@${guarded}`, `u@${guarded}`, `${guarded}/x`, `${guarded}\\x`, '', guarded.replace('.', '%2e'), guarded.replace('a', '\u00aa'),
      '[::1]', '[::ffff:127.0.0.1]:80', '127.0.0.1', host.toUpperCase(), `${guarded}:080`, `${guarded}:65536`, `_${guarded}`,
      `${guarded}${CRLF}Host: ${host}`,
    ].map((host) => ({ host })),
    ...[
      ['Host', guarded], ['host ', guarded], [' Host', guarded], ['X-Forwarded-Host', `${EVIL}.test`], ['X.Forwarded.Host', `${EVIL}.test`],
      ['Forwarded', `host=${EVIL}.test;for=${FAR}`], ['Connection', 'host'],
    ].map((field) => ({ fields: [...request.fields, field] })),
    ...[
      `http://${guarded}/open`, `http://${host}:80/open`, `http://${host.toUpperCase()}/open`, `https://${guarded}/open`,
    ].map((target) => ({ target })),
  ]);
  if (random.chance(0.7)) request.target = '/open';
  Object.assign(request, change);
}

function names(request, random) {
  request.fields.push(...aliases(random));
}

function values(request, random) {
  request.fields.unshift(brokenValue(random));
}

function overrides(request, random) {
  request.method = random.pick(['GET', 'POST']);
  request.target = random.pick(['/open', '/orders/1', '/open?_method=DELETE']);
  request.fields.push(override(random));
}

function bodies(request, random) {
  request.method = random.pick(['POST', 'POST', 'PUT', 'GET', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH']);
  request.target = random.pick(['/open', '/orders/1', '/users/1', '/']);
  const { fields, raw, meant } = framed(random, hidden(request));
  request.fields.push(...fields);
  Object.assign(request, { raw, meant });
  if (random.chance(0.1)) request.version = 'HTTP/1.0';
  if (random.chance(0.15)) request.fields.push(['Expect', random.pick(['100-continue', '100-Continue', 'x', '100-continue, x', ''])]);
}

/** Bytes behind the end of a request, as for another protocol. */
function behind(request, random) {
  request.method = 'GET';
  request.target = random.pick(['/open', '/orders/1', '/admin']);
  request.behind = random.pick([hidden(request), `${CRLF}${CRLF}${hidden(request)}`, 'x', '\0', `PRI * HTTP/2.0${CRLF}${CRLF}SM${CRLF}${CRLF}`]);
  const upgrade = random.pick(['websocket', 'h2c', 'TLS/1.0', 'websocket, h2c', null]);
  if (upgrade === null) return;
  request.fields.push(
    ['Upgrade', upgrade],
    ['Connection', random.pick(['Upgrade', 'upgrade, HTTP2-Settings', 'keep-alive'])],
    ['HTTP2-Settings', 'AAMAAABkAAQCAAAAAAIAAAAA'],
    ['Sec-WebSocket-Version', '13'],
    ['Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25jZQ=='],
  );
}

/** A cheap request in front, on the same connection. */
function pipelined(request, random) {
  const body = random.pick(['', 'abc']);
  const line = `${random.pick(['GET', 'HEAD', 'POST'])} /open HTTP/1.1`;
  request.front = [line, `Host: ${request.host}`, `X-Case: ${request.id}`, `Content-Length: ${body.length}`, '', body].join(CRLF);
}

function queries(request, random) {
  request.target = random.pick(PATHS) + random.pick([
    '?', '?a=b', '??x', '?x?/admin', '?x#y', '?;a', '?a=%00', '?a=%0d%0a', '?\\', '?a b', '?"', '?<>', '?{}', '?|', '?%', '?a=\u00e9',
    '?_method=DELETE', '?access_token=x', '?a=1&access_token=x&b=2', '?/../admin', '?%2e%2e/admin', '&x=/admin', '?a=^`', '%3Fx=1',
    '?x=1;access_token=y;z', '?access%5Ftoken=1', '?&&a', '?a=1&&access_token=2&&b', '?://x/admin', '?:80', '?@x/admin', '?a[]=1', '?%23',
  ]);
}

function oddities(request, random) {
  random.pick([
    () => { request.version = random.pick(['HTTP/1.0', 'HTTP/0.9', 'HTTP/1.2', 'HTTP/2.0', 'http/1.1', 'HTTP/1.1 ', 'HTTP/1.1x', '']); },
    () => { request.fields.push(['Cookie', `access_token=${EVIL}; Authorization=Bearer ${EVIL}`], ['Cookie', 'session=admin']); },
    () => { request.fields.push(['Authorization', `Basic ${btoa(`${EVIL}:${EVIL}`)}`]); },
    () => { request.lineEnd = random.pick(['\n', '\r']); },
    () => { request.space = random.pick(['  ', '\t', '\u000b', '\u00a0']); },
    () => { request.target += ' /x'; },
    () => { request.fields.push(['Max-Forwards', '0']); },
    () => { request.front = random.pick([CRLF, `${CRLF}${CRLF}`, '\n', ' ', '\0']); },
    () => { request.fields.unshift(['X-Fold', `a${CRLF}\tb`]); },
    () => { request.fields.unshift([`X${CRLF}Host: ${request.host}`, 'a']); },
  ])();
}

const KINDS = [paths, paths, paths, paths, methods, hosts, names, names, values, overrides, bodies, bodies, behind, pipelined, queries, oddities];

/** A request's bytes, with a token. */
export function bytes(request, token) {
  const { method, target, version, host, lineEnd = CRLF, space = ' ', front = '', behind = '' } = request;
  const credentials = token ? [['Authorization', `Bearer ${token}`]] : [];
  const fields = [['Host', host], ...request.fields, ...credentials].map(([name, value]) => `${name}: ${value}`);
  const head = [[method, target, version].join(space), ...fields, '', ''].join(lineEnd);
  return Buffer.concat([front, head, request.raw, behind].map(encoded));
}

/** Letters that fit a byte as that byte, else UTF-8. */
function encoded(text) {
  return Buffer.from(text, /^[\0-\u00ff]*$/.test(text) ? 'latin1' : 'utf8');
}
