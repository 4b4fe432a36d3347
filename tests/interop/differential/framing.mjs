// Where a body ends, said in ways that two parsers could read differently.

import { CRLF, EVIL } from './marks.mjs';

const END = `0${CRLF}${CRLF}`;
const CHUNKED = ['Transfer-Encoding', 'chunked'];

/**
 * A body with the fields that say its length: `fields`, the `raw` bytes, and the body that is `meant`
 * where there is only one way to read them. `hidden` is a request that must never run.
 */
export function framed(random, hidden) {
  const text = random.pick([hidden, 'hello', '', `${END}${hidden}`, 'x'.repeat(70_000), `${CRLF}${CRLF}`]);
  const isPlain = random.chance(0.3);
  const { fields, raw } = random.pick(isPlain ? plain(text) : odd(text, hidden));
  return { fields, raw, meant: isPlain ? Buffer.from(text, 'latin1') : null };
}

function plain(text) {
  const { length, size, chunk } = parts(text);
  const chunked = (raw, coding = 'chunked') => ({ fields: [['Transfer-Encoding', coding]], raw });
  const forged = `X-Auth-Subject: ${EVIL}${CRLF}Content-Length: 3${CRLF}X-Case: t0${CRLF}`;
  return [
    { fields: [['Content-Length', `${length}`]], raw: text },
    { fields: [['Content-Length', `000${length}`]], raw: text },
    { fields: [['content-length', ` ${length}\t`]], raw: text },
    chunked(chunk(size) + END),
    chunked(chunk(`000${size.toUpperCase()}`) + END, 'CHUNKED'),
    chunked(`${chunk(`${size};a=b`)}000;x="y"${CRLF}${forged}${CRLF}`),
    chunked(`${chunk(`${size} ;a`)}0${CRLF}Host: ${EVIL}${CRLF}Transfer-Encoding: chunked${CRLF}${CRLF}`),
  ];
}

function odd(text, hidden) {
  const { length, size, chunk } = parts(text);
  const whole = chunk(size) + END;
  const lengths = [
    `+${length}`, `-1`, `0x${size}`, `${length}.0`, `${length}, ${length}`, '1_0', '\u0661', '18446744073709551616', '',
  ].map((value) => ({ fields: [['Content-Length', value]], raw: text }));
  const codings = [
    'chunked, identity', 'identity, chunked', 'gzip, chunked', 'xchunked', '"chunked"', '\u000bchunked', 'chunked\u00a0', `${CRLF} chunked`,
  ].map((value) => ({ fields: [['Transfer-Encoding', value]], raw: whole }));
  const names = [
    'Content_Length', 'Content.Length', 'Content-Length ', ' Content-Length',
  ].map((name) => ({ fields: [[name, `${length}`]], raw: text }));
  const otherNames = [
    'Transfer_Encoding', 'Transfer-Encoding ', ' Transfer-Encoding',
  ].map((name) => ({ fields: [[name, 'chunked']], raw: whole }));
  const both = [
    { fields: [CHUNKED, ['Content-Length', `${length}`]], raw: whole },
    { fields: [['Content-Length', '0'], CHUNKED], raw: whole },
    { fields: [['Content-Length', `${length}`], ['Content-Length', '0']], raw: text },
    { fields: [['Content-Length', `${length}`], ['Content-Length', `${length}`]], raw: text },
    { fields: [CHUNKED, ['Transfer-Encoding', 'identity']], raw: whole },
    { fields: [], raw: text },
  ];
  const chunks = [
    chunk(`0x${size}`) + END, chunk(` ${size}`) + END, chunk(`-${size}`) + END, chunk(`${size}\n`) + END,
    chunk(`1000000000000000${size}`) + END, `${size}\n${text}\n0\n\n`, `${chunk(size)}0${CRLF}X: a\rb${CRLF}${CRLF}`,
    `${size}${CRLF}${text}x${CRLF}${END}`, `${chunk(size)}0${CRLF}${hidden}`,
  ].map((raw) => ({ fields: [CHUNKED], raw }));
  return [...lengths, ...codings, ...names, ...otherNames, ...both, ...chunks];
}

function parts(text) {
  const length = Buffer.byteLength(text, 'latin1');
  const chunk = (line) => (length === 0 ? '' : `${line}${CRLF}${text}${CRLF}`);
  return { length, size: length.toString(16), chunk };
}
