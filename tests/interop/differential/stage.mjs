// A gateway in front of several backends, and what came of a corpus.

import { generateKeyPairSync, sign } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

import { newCertificates } from '../certificates.mjs';
import { startGateway } from '../gateway.mjs';
import { bytes, corpus } from './corpus.mjs';
import { corpusHttp2 } from './corpus_http2.mjs';
import { differences } from './oracle.mjs';
import { hosts, policy, prefix } from './policy.mjs';
import { exchange, exchangeHttp2 } from './wire.mjs';

const ISSUER = 'https://id.example.com';
const AUDIENCE = 'orders-api';
const AT_ONCE = 16;
/** The gateway refuses it and then ends the connection, so that nobody waits for more. */
const GOODBYE = Buffer.from('GET / HTTP/1.1\r\nHost: end.test\r\nConnection: close\r\n\r\n');

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const TOKENS = { reader: token('reader', 'read'), admin: token('admin', 'admin') };

function token(sub, scope) {
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: ISSUER, aud: AUDIENCE, client_id: 'web-app', sub, scope, iat: now, exp: now + 3_600 };
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part({ alg: 'ES256', kid: 'key' })}.${part(claims)}`;
  return `${text}.${sign('sha256', text, { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

/** Starts a gateway with the policy for `backends`; with `tls` it speaks HTTP/2. `records` gives those that are new. */
export async function openGateway(backends, { tls = false } = {}) {
  const { cert, key } = tls ? await newCertificates() : {};
  const write = ({ listen, admin }) => `
# scopegate: allow A120, A140
listen: ${listen}
admin: ${admin}
${tls ? 'tls: { cert: cert.pem, key: key.pem }' : ''}
issuers: { main: { url: ${ISSUER}, audience: ${AUDIENCE}, jwks: keys.json } }
logs: { format: json }
limits: { header_timeout: 1s }
${policy(backends)}`;
  const keys = { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'key', alg: 'ES256', use: 'sig' }] };
  const files = { 'keys.json': JSON.stringify(keys), ...(tls ? { 'cert.pem': cert, 'key.pem': key } : {}) };
  const gateway = await startGateway(process.env.SCOPEGATE_BIN, write, files, Infinity);
  let read = 0;
  const records = () => {
    const text = gateway.output();
    const lines = text.slice(read, text.lastIndexOf('\n') + 1);
    read += lines.length;
    return lines.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'request');
  };
  return { ...gateway, port: Number(new URL(gateway.url).port), records };
}

/** Sends `count` cases to a backend through the gateway; gives the cases, how many were permitted, and the differences. */
export async function compare(gateway, backend, { seed, count, http2 = false }) {
  const cases = (http2 ? corpusHttp2 : corpus)(seed, count, hosts(backend)).map(withPrefix);
  gateway.records();
  await backend.runs();
  const send = http2 ? overHttp2 : overHttp1;
  const found = [];
  const left = cases.values();
  const sender = async () => {
    for (const one of left) found.push(...(await send(gateway, one)));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, sender));
  const [records, runs] = [await settled(gateway), await backend.runs()];
  found.push(...differences({ cases, records, runs, dropsBodies: backend.dropsBodies }));
  const permitted = records.filter(({ decision }) => decision === 'allow').length;
  return { cases, permitted, runs: runs.length, found };
}

function withPrefix(one) {
  const before = prefix(one.host);
  if (!before || !one.target.startsWith('/')) return one;
  const target = before + one.target;
  return { ...one, target, ...(one.http2 && { http2: (token) => prefixed(one.http2(token), before) }) };
}

function prefixed(request, before) {
  const fields = request.fields.map(([name, value]) => [name, name === ':path' && value.startsWith('/') ? before + value : value]);
  return { ...request, fields };
}

/** Answers to other requests than this one are differences, too. */
async function overHttp1(gateway, one) {
  const answer = await exchange(gateway.port, Buffer.concat([bytes(one, TOKENS[one.token]), GOODBYE]));
  const others = [...answer.matchAll(/"x-case",\s*"h?([ar]\d+)"/gi)].filter(([, id]) => id !== one.id);
  return others.map(([, id]) => ({ kind: 'mixed', id: one.id, detail: `got the answer to ${id}` }));
}

async function overHttp2(gateway, one) {
  await exchangeHttp2(gateway.port, one.http2(TOKENS[one.token]));
  return [];
}

/** All records, once no more come. They are written ten times a second. */
async function settled(gateway) {
  const records = [];
  for (let quiet = 0; quiet < 2;) {
    await sleep(150);
    const more = gateway.records();
    records.push(...more);
    quiet = more.length === 0 ? quiet + 1 : 0;
  }
  return records;
}
