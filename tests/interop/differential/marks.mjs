// What a backend must never take for a fact: the client made it up.

export const EVIL = 'evil';
export const FAR = '203.0.113.66';
export const CRLF = '\r\n';

/** Whether a value is, or holds, what the client made up. */
export const isMarked = (value) => String(value ?? '').includes(EVIL) || String(value ?? '').includes(FAR);
