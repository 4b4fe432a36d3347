// Node's own server, with the routing by hand that small services have: URL, then decoded segments.

import { createServer } from 'node:http';

import { PORT, bodyOf, decode, ran } from './shared.mjs';

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost');
  const lazy = Boolean(request.headers['x-lazy']);
  const body = lazy ? Buffer.alloc(0) : await bodyOf(request).catch(() => null);
  if (body === null) return;
  const line = ran(handler(decode(pathname)), request, body, { path: decode(pathname), lazy });
  response.setHeader('content-type', 'application/json').end(line);
});
server.on('clientError', (_, socket) => socket.destroy());
server.listen(PORT, '127.0.0.1');

export function handler(path) {
  if (path === '/admin' || path.startsWith('/admin/')) return 'admin';
  if (path === '/orders' || path.startsWith('/orders/')) return 'orders';
  if (path === '/me:delete') return 'verb';
  if (path === '/café') return 'cafe';
  if (path === '/keys') return 'keys';
  const [, first, id, secret, ...more] = path.split('/');
  if (first === 'own' && id) return 'own';
  if (first === 'users' && id && more.length === 0) {
    if (secret === undefined) return 'user';
    if (secret === 'secret') return 'secret';
  }
  return 'other';
}
