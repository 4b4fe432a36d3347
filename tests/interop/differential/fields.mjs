// Fields that some backend takes for what only a gateway may say, and values that end a line for some.

import { CRLF, EVIL, FAR } from './marks.mjs';

/** One to three fields under aliases of names that are the gateway's. */
export function aliases(random) {
  const fields = Array.from({ length: 1 + random.below(3) }, () => [alias(random), random.pick(FORGED)]);
  if (random.chance(0.25)) fields.push(['Connection', random.pick(NOMINATED)]);
  return fields;
}

function alias(random) {
  let name = random.pick(NAMES);
  const joint = random.pick(JOINTS);
  if (random.chance(0.6)) name = random.chance(0.5) ? name.replaceAll('-', joint) : name.replace('-', joint);
  if (random.chance(0.3)) name = random.chance(0.5) ? name.toUpperCase() : name.toLowerCase();
  return random.chance(0.2) ? random.pick(AROUND)(name) : name;
}

const NAMES = [
  'X-Auth-Subject', 'X-Auth-Scopes', 'X-Auth-Kind', 'X-Auth-Roles', 'X-Who', 'Remote-User', 'X-Forwarded-For', 'X-Forwarded-Host',
  'X-Forwarded-Proto', 'X-Forwarded-Port', 'X-Forwarded-Prefix', 'X-Forwarded-User', 'X-Real-IP', 'Forwarded', 'X-Original-URL',
  'X-Rewrite-URL', 'Proxy', 'Client-Cert', 'X-SSL-Client-CN', 'Authorization', 'Script_Name', 'Path_Info', 'SCRIPT_NAME', 'PATH_INFO',
];
const JOINTS = ['_', '.', '~', '^', '`', '|', '!', '#', '$', '%', '&', "'", '*', '+', '--', ' ', '\t', '', '\u00ad', '\u2010'];
const AROUND = [
  (name) => `${name} `, (name) => ` ${name}`, (name) => `${name}\t`, (name) => `${name}_`, (name) => `_${name}`, (name) => `${name}.`,
  (name) => `-${name}`, (name) => `${name}-`, (name) => `${name}\0`, (name) => `HTTP_${name}`, (name) => `REDIRECT_${name}`,
];
const FORGED = [
  EVIL, `${EVIL}, admin`, FAR, `${EVIL}\u0085X-Auth-Subject: ${EVIL}`, `a\u000bX-Auth-Subject: ${EVIL}`, `a\rX-Auth-Subject: ${EVIL}`,
  `a\nX-Auth-Subject: ${EVIL}`, `a${CRLF} ${EVIL}`, `a\u001cX-Auth-Subject: ${EVIL}`, `a\0${EVIL}`, `${EVIL}\u00ff`, `"${EVIL}`,
  `for=${FAR};host=${EVIL};proto=${EVIL}`, '/admin', `=?utf-8?q?${EVIL}?=`,
];
const NOMINATED = [
  'X-Auth-Subject', 'X-Auth-Scopes', 'Authorization', 'Host', 'Content-Length', 'X-Forwarded-For', 'X-Request-Id', 'Cookie',
  'close, X-Auth-Subject', 'Transfer-Encoding', 'X-Real-IP', 'Forwarded', 'X-Auth-Kind,,x-auth-subject', '"X-Auth-Subject"', 'Via',
];

/** A field under a name that passes, with a value that goes on in another line for some. */
export function brokenValue(random) {
  const mark = random.pick([
    '\u0085', '\u000b', '\u000c', '\u001c', '\u001e', '\r', '\n', '\0', '\u00a0', `${CRLF} `, '\r\r\n', '\u2028', '\u560a', '\t',
  ]);
  const name = random.pick(['X-A', 'Cookie', 'User-Agent', 'Accept', 'Referer', 'Content-Type', 'Origin', 'Via', 'traceparent', 'If-Match']);
  return [name, `a${mark}X-Auth-Subject: ${EVIL}${mark}X-Forwarded-For: ${FAR}${mark}${mark}GET /admin`];
}

/** A field that stands for another method or target with some frameworks. */
export function override(random) {
  const name = random.pick([
    'X-HTTP-Method', 'X-HTTP-Method-Override', 'X-Method-Override', 'X.HTTP.Method.Override', 'X-HTTP-Method-Name', 'X-Original-URL',
    'X-Original-URI', 'X-Original-Method', 'X-Rewrite-URL', 'X-Forwarded-Uri', 'X-Forwarded-Method', 'X-Forwarded-Path', 'X-HTTP~Method',
  ]);
  return [name, random.pick(['DELETE', '/admin', '/users/1/secret', `/${EVIL}`])];
}
