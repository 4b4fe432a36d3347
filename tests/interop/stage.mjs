// What every test of a protocol begins with: a provider, its tokens, and gateways in front of a backend.

import assert from 'node:assert/strict';

import { until } from './calls.mjs';
import { newCertificates } from './certificates.mjs';
import { startGateway } from './gateway.mjs';
import { API, newKey, startProvider } from './provider.mjs';
import { machineToken } from './tokens.mjs';

/** A provider with a token that may read and one that may write, and certificates for localhost. */
export async function openStage() {
  const provider = await startProvider({ keys: [newKey('first')] });
  const [reader, writer, certificates] = await Promise.all([
    machineToken(provider.url, { scope: 'orders:read' }),
    machineToken(provider.url, { scope: 'orders:write' }),
    newCertificates(),
  ]);
  const started = [provider];
  const gateway = async (policy) => {
    const opened = await openGateway(provider.url, certificates, policy);
    started.push(opened);
    return opened;
  };
  const close = () => Promise.all(started.map((one) => one.close()));
  return { reader, writer, certificates, gateway, close };
}

/** A gateway with this `policy`, of `upstreams:` and `routes:`; with `tls` towards clients or without. */
async function openGateway(issuer, { ca, cert, key }, { tls = false, policy }) {
  const write = ({ listen, admin }) => `
listen: ${listen}
admin: ${admin}
issuer: ${issuer}
audience: ${API}
preset: rfc9068
logs: { format: json }
${tls ? 'tls: { cert: cert.pem, key: key.pem }' : ''}
${policy}`;
  const files = { 'ca.pem': ca, 'cert.pem': cert, 'key.pem': key };
  const gateway = await startGateway(process.env.SCOPEGATE_BIN, write, files);
  const { port } = new URL(gateway.url);
  const at = (scheme) => `${scheme}${tls ? 's' : ''}://localhost:${port}`;
  return { ...gateway, at, records: () => records(gateway), record: (id) => record(gateway, id), metric: metric(gateway) };
}

/** The access log's records, the oldest first. */
function records(gateway) {
  const lines = gateway.output().split('\n').filter((line) => line.startsWith('{') && line.endsWith('}'));
  return lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'request');
}

/** The one record of a request, which is written when the request is over. */
async function record(gateway, id) {
  assert.ok(id, 'the answer has a request id');
  const about = () => records(gateway).filter(({ request_id }) => request_id === id);
  const { answer } = await until(5, () => (about().length > 0 ? about() : null));
  assert.equal(answer.length, 1, `records of ${id}`);
  return answer[0];
}

/** The sum of a metric's series that have all of these labels, such as `state="active"`. */
function metric({ admin }) {
  return async (name, ...labels) => {
    const text = await (await fetch(`${admin}/metrics`)).text();
    const series = text.split('\n').filter((line) => line.startsWith(name) && labels.every((label) => line.includes(label)));
    return series.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  };
}

/** The bearer's header, or none. */
export const bearer = (token) => (token ? { authorization: `Bearer ${token}` } : {});

/** Median and maximum of times in milliseconds, for people. */
export function summary(times) {
  const sorted = [...times].sort((a, b) => a - b);
  const [median, most] = [sorted[sorted.length >> 1], sorted.at(-1)];
  return `median ${median.toFixed(2)} ms, at most ${most.toFixed(2)} ms of ${times.length}`;
}
