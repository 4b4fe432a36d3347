// Choices that a seed decides, so that a case can be had again.

/** A source of choices (mulberry32). */
export function seeded(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  const below = (most) => Math.floor(next() * most);
  const pick = (list) => list[below(list.length)];
  const chance = (share) => next() < share;
  return { below, pick, chance };
}
