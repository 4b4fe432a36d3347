// Where a server sends logout tokens: it has an address before the gateway has one, keeps what comes
// so that tests can look at it, and passes it on as it is.

import { once } from 'node:events';
import { createServer } from 'node:http';

/** Starts a postbox; `deliverTo` is set when the gateway is there, `letters` are what came. */
export async function startPostbox() {
  const box = { letters: [], deliverTo: null };
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const letter = { token: new URLSearchParams(body.toString()).get('logout_token') };
    const headers = { 'content-type': request.headers['content-type'] };
    const answer = await fetch(box.deliverTo, { method: request.method, headers, body })
      .catch((error) => new Response(String(error), { status: 599 }));
    letter.status = answer.status;
    letter.answer = await answer.text();
    box.letters.push(letter);
    response.writeHead(letter.status).end(letter.answer);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  box.url = `http://127.0.0.1:${server.address().port}/signed-out`;
  box.close = async () => {
    server.close();
    server.closeAllConnections();
  };
  return box;
}
