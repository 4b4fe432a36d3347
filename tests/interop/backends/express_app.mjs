// Express. MODE=strict turns on its two options by which a path has one spelling.

import express from 'express';

import { PORT, bodyOf, ran } from './shared.mjs';

const app = express();
const strict = process.env.MODE === 'strict';
app.set('case sensitive routing', strict).set('strict routing', strict).set('trust proxy', 1);
for (const [name, ...paths] of [
  ['admin', '/admin', '/admin/*rest'],
  ['orders', '/orders', '/orders/*rest'],
  ['user', '/users/:id'],
  ['secret', '/users/:id/secret'],
  ['own', '/own/:id', '/own/:id/*rest'],
  ['verb', '/me\\:delete'],
  ['cafe', '/caf%C3%A9', '/café'],
  ['keys', '/keys'],
  ['other', '/', '/*rest'],
]) {
  app.all(paths, async (request, response) => {
    const lazy = Boolean(request.headers['x-lazy']);
    const body = lazy ? Buffer.alloc(0) : await bodyOf(request);
    const facts = { client: request.ip, host: request.host, scheme: request.protocol, lazy };
    response.type('json').end(ran(name, request, body, facts));
  });
}
app.use((error, request, response, next) => response.status(error.status ?? 500).end('{}'));
app.listen(PORT, '127.0.0.1').on('clientError', (_, socket) => socket.destroy());
