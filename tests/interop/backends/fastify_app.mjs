// Fastify. MODE=fold lets its router take any case.

import fastify from 'fastify';

import { PORT, bodyOf, ran } from './shared.mjs';

const app = fastify({ routerOptions: { caseSensitive: process.env.MODE !== 'fold' }, trustProxy: true });
app.removeAllContentTypeParsers();
app.addContentTypeParser('*', async (request, payload) => (request.headers['x-lazy'] ? Buffer.alloc(0) : bodyOf(payload)));
for (const method of ['PROPFIND', 'LOCK']) app.addHttpMethod(method, { hasBody: true });
for (const [name, ...paths] of [
  ['admin', '/admin', '/admin/*'],
  ['orders', '/orders', '/orders/*'],
  ['user', '/users/:id'],
  ['secret', '/users/:id/secret'],
  ['own', '/own/:id', '/own/:id/*'],
  ['verb', '/me::delete'],
  ['cafe', '/café'],
  ['keys', '/keys'],
  ['other', '/*'],
]) {
  for (const url of paths) {
    app.all(url, (request, reply) => {
      const lazy = Boolean(request.headers['x-lazy']);
      const facts = { client: request.ip, host: request.host, scheme: request.protocol, lazy };
      reply.type('application/json').send(ran(name, request.raw, request.body ?? Buffer.alloc(0), facts));
    });
  }
}
await app.listen({ port: PORT, host: '127.0.0.1' });
