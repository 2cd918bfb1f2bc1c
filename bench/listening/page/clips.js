// Clips, one after another: a slow line gives the one that is waited for all it has. What came stays here, compressed.

import * as api from "./api.js";
import { context } from "./player.js";

const known = new Map(); // by ticket: { bytes: promise, have, total }
let last = Promise.resolve();
let listener = () => {};

/** `listener(error)` is told of every step of any download. */
export function onStep(found) {
  listener = found;
}

/** Begin to fetch a clip, after those that were asked for before it. */
export function ask(ticket) {
  if (known.has(ticket)) return known.get(ticket);
  const one = { have: 0, total: null };
  one.bytes = last.then(() =>
    api.clip(ticket, (have, total, error) => {
      Object.assign(one, { have, total });
      listener(error);
    }),
  );
  last = one.bytes.catch(() => known.delete(ticket));
  known.set(ticket, one);
  return one;
}

/** The sound of a clip. */
export async function sound(ticket) {
  const bytes = await ask(ticket).bytes;
  return context().decodeAudioData(bytes.slice(0)); // decoding takes the bytes away
}

/** How much of these clips is there, 0 to 1. */
export function share(tickets) {
  const found = tickets.map((ticket) => known.get(ticket)).map((one) => (one && one.total ? one.have / one.total : 0));
  return found.reduce((sum, part) => sum + part, 0) / Math.max(1, found.length);
}
