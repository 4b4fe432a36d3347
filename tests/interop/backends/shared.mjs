// What the backends in JavaScript have in common: the log of what ran.

import { createHash } from 'node:crypto';
import { appendFileSync } from 'node:fs';

export const PORT = Number(process.env.PORT);
const turns = new WeakMap();

/** Notes a request that a handler was run for, before it is answered. */
export function ran(handler, request, body, more = {}) {
  const turn = (turns.get(request.socket) ?? 0) + 1;
  turns.set(request.socket, turn);
  const [path, query = ''] = split(request.url);
  const line = JSON.stringify({
    handler,
    method: request.method,
    path: decode(path),
    target: request.url,
    query,
    host: request.headers.host ?? request.headers[':authority'],
    client: request.socket.remoteAddress,
    headers: pairs(request),
    length: body.length,
    sha: createHash('sha256').update(body).digest('hex'),
    turn,
    ...more,
  });
  appendFileSync(process.env.LOG, `${line}\n`);
  return line;
}

/** The whole body. */
export async function bodyOf(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces);
}

export function decode(path) {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

function pairs({ rawHeaders }) {
  return rawHeaders.flatMap((name, at) => (at % 2 ? [] : [[name, rawHeaders[at + 1]]]));
}

function split(url) {
  const at = url.indexOf('?');
  return at < 0 ? [url] : [url.slice(0, at), url.slice(at + 1)];
}
