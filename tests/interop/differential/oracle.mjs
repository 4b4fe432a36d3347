// Compares what the gateway judged, by its access log, with what the backend ran.

import { createHash } from 'node:crypto';

import { isMarked } from './marks.mjs';
import { mayRun, prefix } from './policy.mjs';

/** Names that only the gateway may fill, as backends fold them. */
const OURS = new RegExp(
  '^(x-auth(-.*)?|x-who|remote-user|x-forwarded(-.*)?|forwarded|x-real-ip|x-original-(url|uri|method)|x-rewrite-url' +
    '|x-http-method(-override|-name)?|x-method-override|client-cert(-chain)?|x-ssl.*|proxy.*|authorization|script-name|path-info|host)$',
);
/** Refusals of a request that was permitted and on its way already, as when its body breaks off. */
const AFTERWARDS = /^(upstream_.*|malformed_request|body_too_large)$/;
const LOOPBACK = ['127.0.0.1', '::ffff:127.0.0.1'];

/** The differences, each a `kind`, the `id` of the case and a `detail`. */
export function differences({ cases, records, runs, dropsBodies = false }) {
  const judged = new Map(records.map((record) => [record.request_id, record]));
  const sent = new Map(cases.map((one) => [one.id, one]));
  const ran = new Set();
  return runs.flatMap((run) => {
    const fields = folded(run.headers);
    const [request] = fields.get('x-request-id') ?? [];
    const [id] = fields.get('x-case') ?? [];
    const record = judged.get(request);
    const found = [];
    const differ = (kind, detail) => found.push({ kind, id, detail, route: record?.route });
    if (!record) return [{ kind: 'unjudged', id, detail: `ran ${run.method} ${run.target} without a record` }];
    if (ran.has(request)) differ('twice', `ran ${run.method} ${run.target} again`);
    ran.add(request);
    compareDecision(record, run, differ);
    compareIdentity(record, run, fields, differ);
    compareTarget(record, run, sent.get(id), differ);
    if (!(dropsBodies && run.length === 0)) compareBody(record, run, sent.get(id), differ);
    return found;
  });
}

function compareDecision(record, run, differ) {
  const { decision, reason, sub = null } = record;
  if (decision !== 'allow' && !AFTERWARDS.test(reason)) differ('refused', `ran what was refused: ${reason}`);
  if (run.method !== record.method) differ('method', `judged ${record.method}, ran ${run.method}`);
  if (!mayRun(sub, { ...run, method: run.method.toUpperCase() })) {
    differ('route', `${sub ?? 'nobody'} had ${run.handler} run by ${run.method} ${record.path}`);
  }
}

function compareIdentity({ sub = null }, run, fields, differ) {
  const subject = fields.get('x-auth-subject')?.join() ?? null;
  if (subject !== sub) differ('identity', `judged ${sub}, ran ${subject}`);
  if (fields.has('authorization')) differ('token', 'the token reached the backend');
  for (const [name, values] of fields) {
    if (OURS.test(name) && values.some(isMarked)) differ('identity', `${name}: ${values}`);
  }
  for (const fact of ['client', 'host', 'scheme', 'user', 'script']) {
    if (isMarked(run[fact])) differ('identity', `${fact} is ${run[fact]}`);
  }
  if (run.client && !LOOPBACK.includes(run.client)) differ('identity', `the client's address is ${run.client}`);
}

function compareTarget(record, run, one, differ) {
  const host = String(run.host).toLowerCase().replace(/:\d+$/, '');
  if (host !== record.host) differ('host', `judged ${record.host}, ran ${run.host}`);
  const path = decoded(record.path).slice(prefix(record.host).length) || '/';
  if (run.path !== path) differ('path', `judged ${path}, ran ${run.path}`);
  // Of the query the log says nothing: it is compared with what was sent, where that has one meaning.
  // Over HTTP/2 the gateway's library cuts a fragment off, before it is judged.
  const target = one?.http2 ? one.target.split('#')[0] : one?.target;
  const meant = one && !one.front && /^[!-~]*$/.test(target) ? target.split('?').slice(1).join('?') : '';
  if (meant === '' || meant.includes('access')) return;
  const seen = String(run.target).includes('?') ? run.target.split('?').slice(1).join('?') : run.query;
  if (seen !== meant) differ('query', `sent ${meant}, ran ${seen}`);
}

function compareBody(record, run, one, differ) {
  if (run.lazy || run.length === null) return;
  if (run.length !== record.bytes_in) differ('body', `took ${record.bytes_in} bytes, ran ${run.length}`);
  if (!one?.meant || one.front) return;
  const sha = createHash('sha256').update(one.meant).digest('hex');
  if (run.sha !== sha) differ('body', `sent ${one.meant.length} bytes, ran ${run.length} or others`);
}

/** Fields by their names as CGI folds them. */
function folded(headers) {
  const fields = new Map();
  for (const [name, value] of headers) {
    if (value === '' || value === null) continue;
    const key = name.toLowerCase().replace(/[^a-z0-9]/g, '-');
    fields.set(key, [...(fields.get(key) ?? []), value]);
  }
  return fields;
}

function decoded(path) {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
