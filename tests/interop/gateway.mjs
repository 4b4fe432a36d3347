// The gateway under test, as a process, and a backend that writes down what reaches it.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Starts a backend; `seen` holds every request that came. */
export async function startBackend() {
  const seen = [];
  const server = createServer((request, response) => {
    seen.push({ method: request.method, url: request.url, headers: request.headers });
    request.resume();
    request.on('end', () => response.setHeader('content-type', 'application/json').end('{"ok":true}'));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = async () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${server.address().port}`, seen, close };
}

/**
 * Starts `scopegate serve` with the policy that `write` makes of the two addresses it gets; `files`
 * are put beside it, and the last `kept` letters of its output.
 */
export async function startGateway(binary, write, files = {}, kept = 200_000) {
  const [listen, admin] = [await freeAddress(), await freeAddress()];
  const folder = await mkdtemp(join(tmpdir(), 'scopegate-interop-'));
  const file = join(folder, 'gateway.yaml');
  const beside = Object.entries({ ...files, 'gateway.yaml': write({ listen, admin }) });
  for (const [name, text] of beside) await writeFile(join(folder, name), text);
  const child = spawn(binary, ['serve', '--config', file], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => { output = (output + text).slice(-kept); });
  }
  const ended = new Promise((done) => child.on('close', done).on('error', done));
  const close = async () => {
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), 5_000);
    await ended;
    clearTimeout(timer);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await ready(`http://${admin}/readyz`, ended);
  } catch (error) {
    await close();
    throw new Error(`${error.message}\n${output.slice(-20_000)}`);
  }
  return { url: `http://${listen}`, address: listen, admin: `http://${admin}`, output: () => output, close };
}

async function ready(url, ended) {
  let over = false;
  ended.then(() => { over = true; });
  const deadline = Date.now() + 15_000;
  while (Date.now() < deadline && !over) {
    const response = await fetch(url).catch(() => null);
    if (response?.ok) return;
    await sleep(50);
  }
  throw new Error(over ? 'the gateway ended' : 'the gateway did not get ready');
}

/** An address that was free a moment ago. */
export async function freeAddress() {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = `127.0.0.1:${server.address().port}`;
  server.close();
  await once(server, 'close');
  return address;
}
