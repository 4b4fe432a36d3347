// A server of HTTP/2 that ends each connection at its 25th stream, as servers do that balance their load: in a
// process of its own, which tells its port, and its counts whenever it is asked. (In one process with the
// tests' clients, Node 20.20 dies of a corrupted heap.)

import { createSecureServer, createServer } from 'node:http2';

const [certificates] = process.argv.slice(2).map((text) => JSON.parse(text));
const counts = { streams: 0, sessions: 0, farewells: 0 };
const server = certificates ? createSecureServer(certificates) : createServer();

server.on('session', (session) => {
  let streams = 0;
  counts.sessions += 1;
  session.on('error', () => {});
  session.on('stream', (stream) => {
    stream.on('error', () => {});
    streams += 1;
    counts.streams += 1;
    // The answer is a little late, so that many streams are open when the connection ends.
    setTimeout(() => answer(stream), 2);
    if (streams !== 25) return;
    counts.farewells += 1;
    // GOAWAY: streams that begin from here on are not looked at, those that have begun are answered.
    setImmediate(() => session.close());
  });
});

function answer(stream) {
  if (stream.destroyed) return;
  stream.respond({ ':status': 200 });
  stream.end('ok');
}

server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));
process.on('message', () => process.send(counts));
process.on('disconnect', () => process.exit());
