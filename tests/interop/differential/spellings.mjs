// Paths as somebody would write them who hopes that the gateway and the backend read them differently.

/** The handlers of every backend, guarded and open. */
export const PATHS = [
  '/admin', '/admin/x', '/orders', '/orders/1', '/users/1', '/users/1/secret', '/me:delete', '/caf%C3%A9', '/keys',
  '/own/reader', '/own/admin/x', '/', '/open', '/open/x',
];
const OPEN = ['/', '/open', '/open/x', '/x'];

/** Another spelling of a path, or of a path near it. */
export function respelt(path, random) {
  return random.pick(SPELLINGS)(path, random);
}

/** Each path with each of its letters as its lookalike, and with each of its slashes encoded: what must not depend on chance. */
export function lookalikes() {
  return PATHS.flatMap((path) => [...path].flatMap((letter, at) => {
    const like = { ...LOOKALIKES, '/': at > 0 ? '/' : undefined }[letter];
    if (like === undefined || path[at - 1] === '%') return [];
    return path.slice(0, at) + encodeURIComponent(like) + path.slice(at + 1);
  })).concat('/caf%C3%89', '/CAF%C3%A9', '/me%3Adelete', '/users/%31/secret', '/%61dmin');
}

const SPELLINGS = [
  (path, random) => replaced(path, random, percent),
  (path, random) => replaced(path, random, (letter) => percent(letter).toLowerCase()),
  (path, random) => replaced(path, random, (letter) => percent(letter).replace('%', '%25')),
  (path, random) => replaced(path, random, (letter) => `%25%${hex(letter.charCodeAt(0))}`),
  (path, random) => replaced(path, random, (letter) => `%u00${hex(letter.charCodeAt(0))}`),
  (path, random) => replaced(path, random, overlong),
  (path, random) => replaced(path, random, otherCase),
  (path, random) => replaced(path, random, (letter) => encodeURIComponent(LOOKALIKES[letter] ?? wide(letter))),
  (path, random) => replaced(path, random, () => ''),
  (path, random) => replaced(path, random, (letter) => letter + letter),
  // NFD, the capital, Latin-1, and no escape at all.
  (path, random) => path.replace('%C3%A9', random.pick(['e%CC%81', '%C3%89', '%E9', '\u00e9'])),
  (path) => path.replaceAll('/', '%2F').replace('%2F', '/'),
  (path, random) => slashed(path, random, random.pick(['%2F', '%2f'])),
  (path, random) => slashed(path, random, random.pick(SEPARATORS)),
  (path, random) => `${random.pick(OPEN)}${random.pick(UPWARDS)}${path}`,
  (path, random) => `${path}${random.pick(ENDS)}`,
  (path, random) => `${random.pick(BEGINNINGS)}${path}`,
  (path) => path.replace(':', '%3A'),
  (path) => path.replace('1', 'admin'),
  (path, random) => path.replace('/1', random.pick(['/1%2Fsecret', '/%2F', '/.%2Fx'])),
];

const SEPARATORS = [
  '//', '/./', '/x/../', '/%2e/', '/.;/', '/;/', '/;x=1/', '\\', '%5C', '/%2F', '%2F/', '/%20/', '/%EF%BC%8F', '%EF%BC%8F',
  '%E2%81%84', '%C0%AF', '%252F', '/%09/', '%00/',
];
const UPWARDS = [
  '/..', '/%2e%2e', '/.%2E', '/..;', '/..%2F..', '%2F..', '/..%5c..', '/%EF%BC%8E%EF%BC%8E', '/..%00', '/...', '/%E2%80%A5',
];
const ENDS = [
  '/', '//', '/.', '/..', '.', '..', '%2F', '%2f', '%20', '+', '%00', '%0a', '%0d%0a', '%09', ';', ';x', '%3B', '*', ':', '@', '%3A',
  '%40', '~', '%7E', "'", '!', '$', '&', '=', ',', '(', '.json', '.php', '/index.html', '%C2%A0', '%E2%80%8B', '%AD', '%C2%AD',
  '%EF%BB%BF', '/x', '%25', '%', '%2', '|', '^', '`', '{', '"', '<', '%23', '#', '#/x', '%3F', '/%20', '/+', '%E2%80%AE', '\\', '%5C',
];
const BEGINNINGS = [
  '/', '/.', '/%2e', '/%2F', '\\', '/;', '/x/..', '/open', '/open/..', '/%20', '/+', 'x', '.', '%2F', '/api', '/%61%70%69', '/~',
];

/** Letters that folding case or normalising takes for these. */
const LOOKALIKES = {
  k: '\u212a', s: '\u017f', i: '\u0130', K: '\u212a', S: '\u017f', a: '\u00aa', o: '\u00ba', d: '\u2146', e: '\u212f', 1: '\u0661',
  '/': '\u2215', '.': '\u2024', ':': '\ufe55',
};

function replaced(path, random, by) {
  const at = 1 + random.below(Math.max(1, path.length - 1));
  if (path[at] === undefined || path[at] === '%') return path;
  return path.slice(0, at) + by(path[at]) + path.slice(at + 1);
}

function slashed(path, random, by) {
  const places = [...path.matchAll(/\//g)].map(({ index }) => index);
  if (places.length === 0) return path;
  const at = random.pick(places);
  return path.slice(0, at) + by + path.slice(at + 1);
}

const hex = (code) => code.toString(16).padStart(2, '0');
const percent = (letter) => `%${hex(letter.charCodeAt(0)).toUpperCase()}`;
const overlong = (letter) => `%${hex(0xc0 | (letter.charCodeAt(0) >> 6))}%${hex(0x80 | (letter.charCodeAt(0) & 63))}`;
const otherCase = (letter) => (letter === letter.toUpperCase() ? letter.toLowerCase() : letter.toUpperCase());
const wide = (letter) => (letter > ' ' && letter <= '~' ? String.fromCharCode(letter.charCodeAt(0) + 0xfee0) : letter);
