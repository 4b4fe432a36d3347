// Calls through the gateway, and what is expected of them.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

/** Calls of `METHOD path` through what `started` gives: the gateway and the backend behind it. */
export function calls(started) {
  async function call(line, token, headers = {}) {
    const [method, path] = line.split(' ');
    const credentials = token ? { authorization: `Bearer ${token}` } : {};
    const response = await fetch(`${started().gateway.url}${path}`, { method, headers: { ...headers, ...credentials } });
    const body = await response.json().catch(() => ({}));
    const { headers: fields, status } = response;
    return { status, reason: body.reason, challenge: fields.get('www-authenticate'), retry: fields.get('retry-after') };
  }

  /** The call reaches the backend, which answers. */
  async function passes(line, token, headers) {
    const { seen } = started().backend;
    const before = seen.length;
    const { status, reason } = await call(line, token, headers);
    assert.deepEqual([status, reason], [200, undefined], line);
    assert.equal(seen.length, before + 1, `${line} did not reach the backend`);
    return seen.at(-1);
  }

  /** A refusal: its status and reason, and that the backend knows nothing of it. */
  async function refused(line, token, status, reason) {
    const { seen } = started().backend;
    const before = seen.length;
    const answer = await call(line, token);
    assert.deepEqual([answer.status, answer.reason], [status, reason], line);
    assert.equal(seen.length, before, `${line} reached the backend`);
    return answer;
  }

  return { call, passes, refused };
}

/** Asks until the answer is not nullish, at most `seconds`; gives the answer and the time it took. */
export async function until(seconds, ask) {
  const start = Date.now();
  while (Date.now() - start < seconds * 1000) {
    const answer = await ask();
    if (answer != null) return { answer, took: Date.now() - start };
    await sleep(50);
  }
  throw new Error(`nothing came of it in ${seconds} s: ${ask}`);
}

/** The claims and header of a JWT, unverified. */
export function decode(token) {
  const [header, claims] = token.split('.').map((part) => Buffer.from(part, 'base64url'));
  return { header: JSON.parse(header), claims: JSON.parse(claims) };
}

/** The same token by a key that nobody has, which makes the gateway look for new keys. */
export function byUnknownKey(token) {
  const [, claims, signature] = token.split('.');
  const header = Buffer.from(JSON.stringify({ ...decode(token).header, kid: 'nobody' })).toString('base64url');
  return [header, claims, signature].join('.');
}
