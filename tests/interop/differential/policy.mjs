// The policies under test, and what they are meant to guarantee, said a second time in other words.

/** What is open, and what is guarded beside it. Each path is guarded as the documentation advises, with what is below. */
const ROUTES = {
  '/**': 'GET: { public: true }, allow: { token: any }',
  '/admin/**': 'allow: admin',
  '/orders/**': 'GET: { token: any }, POST: admin, DELETE: admin',
  '/users/': 'GET: { token: any }',
  '/users/{id}': 'GET: { token: any }',
  '/users/{id}/': 'GET: { token: any }',
  '/users/{id}/secret/**': 'allow: admin',
  '/me:delete/**': 'allow: admin',
  '/café/**': 'allow: admin',
  '/keys/**': 'allow: admin',
  '/own/{id}/**': 'allow: { token: any, claim: { sub: "{id}" } }',
};

/** The options that each policy adds to all of its routes, by the first label of the host. */
const POLICIES = {
  plain: '',
  fold: 'case_insensitive: true, ',
  slash: 'allow_encoded_slash: true, ',
  strip: 'strip_prefix: /api, ',
};

/** In front of the paths of a policy, and not seen by the backend. */
export const prefix = (host) => (host.startsWith('strip.') ? '/api' : '');

/** The hosts of a backend. One whose router takes any case needs `case_insensitive`. */
export function hosts({ name, folds }) {
  const labels = folds ? ['fold'] : Object.keys(POLICIES);
  return labels.map((label) => `${label}.${name}.test`);
}

/** The part of gateway.yaml that is about `backends`, each a `name`, a `port` and perhaps a `protocol`. */
export function policy(backends) {
  const upstream = ({ name, port, protocol = 'http1' }) => `  ${name}: { targets: ["http://127.0.0.1:${port}"], protocol: ${protocol} }`;
  const routes = (backend) => [
    ...hosts(backend).flatMap((host) => routesOf(host, `${POLICIES[host.split('.')[0]]}upstream: ${backend.name}`)),
    `  "admin.${backend.name}.test/**": { allow: admin, upstream: ${backend.name} }`,
  ];
  return [
    'identity_headers: { X-Auth-Subject: "{sub}", X-Auth-Scopes: "{scopes}", X-Who: "{sub}", Remote-User: "{sub}" }',
    'upstreams:',
    ...backends.map(upstream),
    'routes:',
    ...backends.flatMap(routes),
  ].join('\n');
}

function routesOf(host, options) {
  return Object.entries(ROUTES).map(([path, rule]) => `  "${host}${prefix(host)}${path}": { ${rule}, ${options} }`);
}

/** Whether `subject`, or nobody, may have this run. */
export function mayRun(subject, { handler, method, host, path }) {
  const reads = method === 'GET' || method === 'HEAD';
  if (String(host).toLowerCase().startsWith('admin.')) return subject === 'admin';
  switch (handler) {
    case 'admin': case 'secret': case 'verb': case 'cafe': case 'keys': return subject === 'admin';
    case 'orders': return reads ? subject !== null : ['POST', 'DELETE'].includes(method) && subject === 'admin';
    case 'user': return reads && subject !== null;
    case 'own': return String(path).split('/')[2] === subject;
    default: return reads || subject !== null;
  }
}
