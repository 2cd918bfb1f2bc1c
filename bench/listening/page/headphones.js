// The headphone check of Woods, Siegel, Traer & McDermott (2017): of three tones one is softer and one has its
// channels in opposite phase. Loudspeakers cancel the latter in the air, so it seems the quietest; headphones do not.

import { context, letSoundOut } from "./player.js";

export const ROUNDS = 6;
export const NEEDED = 5; // as in the paper; guessing gets there with 13 in 729, 1.8 %
const TONE_HZ = 200;
const TONE_S = 1.0;
const PAUSE_S = 0.4;
const RAMP_S = 0.1;
const LEVEL = 0.25;
const SOFTER = 10 ** (-6 / 20);

/** A round: which tone is softer and which has its channels opposed, in places 0 to 2. */
export function draw(random = Math.random) {
  const order = ["plain", "softer", "opposed"];
  for (let last = 2; last > 0; last -= 1) {
    const pick = Math.floor(random() * (last + 1));
    [order[last], order[pick]] = [order[pick], order[last]];
  }
  return order;
}

/** Play a round; resolves when it is over. */
export async function play(order) {
  const audio = context();
  await letSoundOut();
  const rate = audio.sampleRate;
  const step = TONE_S + PAUSE_S;
  const buffer = new AudioBuffer({ numberOfChannels: 2, length: Math.ceil(3 * step * rate), sampleRate: rate });
  const [left, right] = [buffer.getChannelData(0), buffer.getChannelData(1)];
  order.forEach((kind, place) => {
    const begin = Math.round(place * step * rate);
    for (let i = 0; i < TONE_S * rate; i += 1) {
      const t = i / rate;
      const ramp = Math.min(1, t / RAMP_S, (TONE_S - t) / RAMP_S);
      const value = LEVEL * ramp * Math.sin(2 * Math.PI * TONE_HZ * t) * (kind === "softer" ? SOFTER : 1);
      left[begin + i] = value;
      right[begin + i] = kind === "opposed" ? -value : value;
    }
  });
  const source = new AudioBufferSourceNode(audio, { buffer });
  source.connect(audio.destination);
  source.start();
  await new Promise((done) => {
    source.onended = done;
  });
}
