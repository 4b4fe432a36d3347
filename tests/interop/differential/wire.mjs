// Bytes as they are, to the gateway and back.

import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** Sends bytes and gives all that comes back until the connection ends or `quiet` ms pass. */
export function exchange(port, bytes, quiet = 300) {
  return new Promise((done) => {
    const pieces = [];
    const socket = connect({ port, host: '127.0.0.1' }, () => socket.write(bytes));
    const end = () => {
      socket.destroy();
      done(Buffer.concat(pieces).toString('latin1'));
    };
    socket.setTimeout(quiet, end).on('data', (piece) => pieces.push(piece)).on('error', end).on('close', end);
  });
}

/** Sends the fields, the body and the trailers of one request of HTTP/2, whatever is in them, and waits for its end. */
export function exchangeHttp2(port, { fields, body, trailers }, quiet = 300) {
  return new Promise((done) => {
    const options = { port, host: '127.0.0.1', servername: 'localhost', ALPNProtocols: ['h2'], rejectUnauthorized: false };
    const socket = connectTls(options, () => {
      const ends = body === null && !trailers;
      socket.write(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'));
      socket.write(frame(SETTINGS, 0, 0, ''));
      socket.write(frame(HEADERS, END_HEADERS | (ends ? END_STREAM : 0), 1, block(fields)));
      if (body !== null) socket.write(frame(DATA, trailers ? 0 : END_STREAM, 1, body.slice(0, 16_000)));
      if (trailers) socket.write(frame(HEADERS, END_HEADERS | END_STREAM, 1, block(trailers)));
    });
    let input = Buffer.alloc(0);
    const end = () => {
      socket.destroy();
      done();
    };
    const read = (piece) => {
      input = Buffer.concat([input, piece]);
      while (input.length >= 9 && input.length >= 9 + input.readUIntBE(0, 3)) {
        const [type, flags] = [input[3], input[4]];
        if (type === SETTINGS && !(flags & ACK)) socket.write(frame(SETTINGS, ACK, 0, ''));
        const isLast = (type === DATA || type === HEADERS) && flags & END_STREAM;
        if (isLast || type === RST_STREAM || type === GOAWAY) return end();
        input = input.subarray(9 + input.readUIntBE(0, 3));
      }
    };
    socket.setTimeout(quiet, end).on('data', read).on('error', end).on('close', end);
  });
}

const [DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY] = [0, 1, 3, 4, 7];
const [ACK, END_STREAM, END_HEADERS] = [1, 1, 4];

function frame(type, flags, stream, payload) {
  const body = Buffer.from(payload, 'latin1');
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head.writeUInt16BE((type << 8) | flags, 3);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, body]);
}

/** Literal fields without indexing (RFC 7541 §6.2.2). */
function block(fields) {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), string(name), string(value)]));
}

function string(text) {
  const bytes = Buffer.from(text, 'latin1');
  const length = [Math.min(bytes.length, 127)];
  for (let rest = bytes.length - 127; rest >= 0; rest = rest < 128 ? -1 : rest >> 7) length.push(rest < 128 ? rest : (rest & 127) | 128);
  return Buffer.concat([Buffer.from(length), bytes]);
}
