// What the gateway judges is what the backend runs: the same requests, read by both, compared.
//
// SEED and CASES choose others and more; a difference is printed with the bytes that were sent.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { BACKENDS, missing, startBackend } from './backends/start.mjs';
import { bytes } from './differential/corpus.mjs';
import { compare, openGateway } from './differential/stage.mjs';

const SEED = Number(process.env.SEED ?? 1);
const CASES = Number(process.env.CASES ?? 2_500);
const CASES_HTTP2 = Math.ceil(CASES / 5);
const SHOWN = 5;
const lacking = new Map(Object.keys(BACKENDS).map((name) => [name, missing(name)]));
const names = [...lacking.keys()].filter((name) => !lacking.get(name));
const table = [];
let backends, gateways;

before(async () => {
  backends = new Map((await Promise.all(names.map(startBackend))).map((backend) => [backend.name, backend]));
  const all = [...backends.values()];
  gateways = await Promise.all([openGateway(all), openGateway(all, { tls: true })]);
});
after(async () => {
  await Promise.all([...(gateways ?? []), ...(backends?.values() ?? [])].map((started) => started.close()));
  console.table(table);
  for (const [name, why] of lacking) if (why) console.error(`!!! SKIPPED: ${name}: ${why}, so NOTHING was compared with it.`);
});

for (const [name, why] of lacking) {
  describe(name, { skip: why ?? false }, () => {
    test('HTTP/1.1', () => agrees(name, gateways[0], { seed: SEED, count: CASES }));
    test('HTTP/2', () => agrees(name, gateways[1], { seed: SEED, count: CASES_HTTP2, http2: true }));
  });
}

async function agrees(name, gateway, options) {
  const { cases, permitted, runs, found } = await compare(gateway, backends.get(name), options);
  const protocol = options.http2 ? 'HTTP/2' : 'HTTP/1.1';
  table.push({ backend: name, protocol, cases: cases.length, permitted, runs, differences: found.length });
  assert.ok(runs > cases.length / 20, `only ${runs} requests reached ${name}`);
  const shown = found.slice(0, SHOWN).map(({ kind, id, detail, route }) => {
    const one = cases.find((other) => other.id === id);
    const sent = one && (options.http2 ? one.http2().fields : bytes(one).subarray(0, 600).toString('latin1'));
    return `${kind}: ${detail}, under ${route}\n    ${id}: ${JSON.stringify(sent)}`;
  });
  assert.equal(found.length, 0, `${found.length} differences with seed ${options.seed}:\n  ${shown.join('\n  ')}`);
}
