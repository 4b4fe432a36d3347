// The backends: how each is started, and what it lacks where it cannot be.

import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { freeAddress } from '../gateway.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
/** Where `install` has put what is not beside this file. */
const HOME = process.env.BACKENDS ?? '';
const [PYTHON, GO, CLASSES] = ['venv/bin/python', 'go_mux', 'java/classes'].map((path) => join(HOME, path));

const python = (...args) => [PYTHON, ...args];
const gunicorn = (app) => (port) =>
  python('-m', 'gunicorn', '--worker-class', 'gthread', '--threads', '4', '--log-level', 'error', '--bind', `127.0.0.1:${port}`, app);
const uvicorn = (parser) => (port) => python('-m', 'uvicorn', '--port', port, '--log-level', 'error', '--http', parser, 'asgi_app:app');
const hypercorn = (port) => python('-m', 'hypercorn', '--workers', '0', '--bind', `127.0.0.1:${port}`, 'asgi_app:app');
const java = (name) => () => ['java', '-Xmx128m', '-XX:TieredStopAtLevel=1', '-cp', `${CLASSES}:${join(HOME, 'java/lib/*')}`, name];
const php = (port) => ['php', '-d', 'display_errors=0', '-S', `127.0.0.1:${port}`, 'index.php'];
const nginx = (_, folder) => ['nginx', '-p', folder, '-c', join(folder, 'nginx.conf')];
const node = (file) => () => ['node', file];
const npm = (name) => ({ command: node(`${name}_app.mjs`), needs: join(HERE, '../node_modules', name) });

/**
 * By name: the command for a port and a folder; the file it needs, or else a program; a `mode`; whether
 * its router takes any case (`folds`); whether it hands no body to handlers of some requests (`dropsBodies`);
 * and the protocol, if it is not HTTP/1.1.
 */
export const BACKENDS = {
  werkzeug: { command: () => python('flask_app.py') },
  gunicorn: { command: gunicorn('flask_app:app') },
  waitress: { command: (port) => python('-m', 'waitress', `--listen=127.0.0.1:${port}`, 'flask_app:app') },
  django: { command: gunicorn('django_app:application'), dropsBodies: true },
  'django-fold': { command: gunicorn('django_app:application'), dropsBodies: true, mode: 'fold', folds: true },
  'uvicorn-httptools': { command: uvicorn('httptools') },
  'uvicorn-h11': { command: uvicorn('h11') },
  hypercorn: { command: hypercorn },
  'hypercorn-h2': { command: hypercorn, protocol: 'h2' },
  node: { command: node('node_http.mjs') },
  express: { ...npm('express'), folds: true },
  'express-strict': { ...npm('express'), mode: 'strict' },
  fastify: { ...npm('fastify'), dropsBodies: true },
  'fastify-fold': { ...npm('fastify'), dropsBodies: true, mode: 'fold', folds: true },
  go: { command: () => [GO] },
  'go-h2': { command: () => [GO], protocol: 'h2' },
  php: { command: php },
  'php-fold': { command: php, mode: 'fold', folds: true },
  nginx: { command: nginx },
  'nginx-fold': { command: nginx, mode: 'fold', folds: true },
  tomcat: { command: java('OnTomcat'), needs: CLASSES },
  'tomcat-relaxed': { command: java('OnTomcat'), needs: CLASSES, mode: 'relaxed' },
  jetty: { command: java('OnJetty'), needs: CLASSES },
  'jetty-relaxed': { command: java('OnJetty'), needs: CLASSES, mode: 'relaxed' },
  spring: { command: java('OnSpring'), needs: CLASSES },
  'spring-fold': { command: java('OnSpring'), needs: CLASSES, mode: 'fold', folds: true },
};

/** What a backend lacks; null if it can be started. */
export function missing(name) {
  const { command, needs } = BACKENDS[name];
  const [program] = command('0', '');
  const lacks = [needs, program].filter(Boolean).find((what) => !(what.includes('/') ? existsSync(what) : isProgram(what)));
  return lacks ? `there is no ${lacks}` : null;
}

function isProgram(name) {
  try {
    execFileSync('sh', ['-c', `command -v ${name}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Starts a backend. `runs` gives what it ran since it was last asked. */
export async function startBackend(name) {
  const { command, mode = '', ...options } = BACKENDS[name];
  const folder = await mkdtemp(join(tmpdir(), 'scopegate-backend-'));
  const log = join(folder, 'log');
  const port = (await freeAddress()).split(':')[1];
  await writeFile(log, '');
  await writeFile(join(folder, 'nginx.conf'), await nginxConf({ port, log, folder, mode }));
  const env = { ...process.env, PORT: port, LOG: log, DIR: folder, MODE: mode, PYTHONDONTWRITEBYTECODE: '1', PYTHONWARNINGS: 'ignore' };
  const [program, ...args] = command(port, folder);
  const child = spawn(program, args, { cwd: HERE, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { output = `${output}${text}`.slice(-5_000); });
  let over = false;
  const ended = new Promise((done) => child.on('exit', done).on('error', done)).then(() => { over = true; });
  // Some have workers: all of their group end.
  const signal = (name) => {
    try {
      process.kill(-child.pid, name);
    } catch {
      // It has ended.
    }
  };
  const close = async () => {
    signal('SIGTERM');
    const timer = setTimeout(() => signal('SIGKILL'), 3_000);
    await ended;
    clearTimeout(timer);
    for (const stream of [child.stdout, child.stderr]) stream.destroy();
    await rm(folder, { recursive: true, force: true });
  };
  const deadline = Date.now() + 60_000;
  while (Date.now() < deadline && !over) {
    if (await listens(port)) return { name, port, ...options, runs: reader(log), close };
    await sleep(100);
  }
  await close();
  throw new Error(`${name} did not start\n${output}`);
}

async function nginxConf({ port, log, folder, mode }) {
  const text = await readFile(join(HERE, 'nginx.conf'), 'utf8');
  const values = { PORT: port, LOG: log, DIR: folder, FOLD: mode === 'fold' ? '*' : '' };
  return text.replace(/@([A-Z]+)@/g, (_, name) => values[name]);
}

function reader(log) {
  let read = 0;
  return async () => {
    const text = await readFile(log, 'utf8');
    const lines = text.slice(read, text.lastIndexOf('\n') + 1);
    read += lines.length;
    return lines.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line));
  };
}

function listens(port) {
  return new Promise((done) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.on('connect', () => { socket.destroy(); done(true); }).on('error', () => done(false));
  });
}
