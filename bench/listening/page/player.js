// A deck plays its tracks in step and lets one of them be heard. Switching moves gains alone, so the place in
// the sentence is kept to the sample.

import { played } from "./ranges.js";

const FADE_S = 0.008;
const LEAD_S = 0.03;

let shared = null;

const STARTS_WITHIN_MS = 3000;
let interrupted = () => {};

/** `found()` is told when the sound stops by itself: a call comes in, the device is taken away. */
export function onInterrupted(found) {
  interrupted = found;
}

/** The page's one audio context. Its clock stands while it is suspended, and so does what counts as heard. */
export function context() {
  if (!shared) {
    shared = new AudioContext({ latencyHint: "interactive" });
    shared.addEventListener("statechange", () => {
      if (shared.state !== "running") interrupted();
    });
  }
  return shared;
}

/** Let sound out; to be called from a press, as browsers ask. Resolves to whether it is running. */
export async function letSoundOut() {
  overrideRingSwitch();
  const audio = context();
  await Promise.race([audio.resume(), new Promise((done) => setTimeout(done, STARTS_WITHIN_MS))]);
  return audio.state === "running";
}

let silent = null;

/**
 * An iPhone's ring switch mutes a page unless it says that it plays. Where it cannot say so (before iOS 16.4), a silent
 * <audio> in a loop does. No iPhone was at hand to try this on; the sound check finds out whether it works.
 */
function overrideRingSwitch() {
  if (navigator.audioSession) {
    navigator.audioSession.type = "playback";
  } else if (/iPhone|iPad|iPod/.test(navigator.userAgent) && !silent) {
    silent = new Audio("silence.wav");
    silent.loop = true;
    silent.setAttribute("playsinline", "");
    silent.play().catch(() => {
      silent = null;
    });
  }
}

export class Deck {
  /** `onHeard(track, ranges)` is told all that was heard; `onChange()` when it starts, stops or switches. */
  constructor({ onHeard = () => {}, onChange = () => {} } = {}) {
    this.onHeard = onHeard;
    this.onChange = onChange;
    this.tracks = new Map();
    this.active = null;
    this.loop = false;
    this.playing = false;
    this.place = 0;
    this.run = null;
  }

  /** Take new buffers, `{name: AudioBuffer}`, all of the same length; the first is heard. */
  load(buffers) {
    this.stop();
    this.tracks = new Map(Object.entries(buffers));
    this.active = this.tracks.keys().next().value ?? null;
    this.length = this.tracks.size ? [...this.tracks.values()][0].duration : 0;
    this.place = 0;
    this.onChange();
  }

  /** Seconds from the clip's beginning. */
  get position() {
    if (!this.run) return this.place;
    const at = this.run.offset + Math.max(0, context().currentTime - this.run.began);
    return this.loop ? at % this.length : Math.min(at, this.length);
  }

  async play() {
    if (this.playing || !this.tracks.size) return;
    this.playing = true; // before the wait: a second press must not start a second run
    this.onChange();
    const running = await letSoundOut();
    if (!this.playing) return;
    if (!running) {
      interrupted();
      this.pause();
      return;
    }
    if (this.place >= this.length - 0.01) this.place = 0;
    this.begin();
  }

  begin() {
    const audio = context();
    const began = audio.currentTime + LEAD_S;
    const run = { began, offset: this.place, counted: 0, sources: new Map() };
    for (const [name, buffer] of this.tracks) {
      const source = new AudioBufferSourceNode(audio, { buffer, loop: this.loop });
      const gain = new GainNode(audio, { gain: name === this.active ? 1 : 0 });
      source.connect(gain).connect(audio.destination);
      source.start(began, this.place);
      run.sources.set(name, { source, gain });
    }
    run.sources.get(this.active).source.onended = () => {
      if (this.run === run) this.ended();
    };
    this.run = run;
  }

  ended() {
    this.count(true);
    this.drop();
    this.playing = false;
    this.place = this.length;
    this.onChange();
  }

  pause() {
    if (!this.playing) return;
    this.count();
    this.place = this.position;
    this.drop();
    this.playing = false;
    this.onChange();
  }

  stop() {
    this.pause();
    this.place = 0;
  }

  drop() {
    if (!this.run) return;
    for (const { source, gain } of this.run.sources.values()) {
      source.onended = null;
      gain.gain.setTargetAtTime(0, context().currentTime, FADE_S / 3);
      try {
        source.stop(context().currentTime + FADE_S * 2);
      } catch {
        // It ended by itself.
      }
    }
    this.run = null;
  }

  /** Hear another track from the same place on. */
  hear(name) {
    if (name === this.active || !this.tracks.has(name)) return;
    this.count();
    this.active = name;
    if (this.run) {
      const now = context().currentTime;
      for (const [track, { source, gain }] of this.run.sources) {
        gain.gain.cancelScheduledValues(now);
        gain.gain.setValueAtTime(gain.gain.value, now);
        gain.gain.linearRampToValueAtTime(track === name ? 1 : 0, now + FADE_S);
        const run = this.run;
        source.onended = track === name ? () => this.run === run && this.ended() : null;
      }
    }
    this.onChange();
  }

  seek(seconds) {
    this.count();
    const place = Math.min(Math.max(0, seconds), this.length);
    if (this.run) {
      this.drop();
      this.place = place >= this.length - 0.01 ? 0 : place;
      this.begin();
    } else {
      this.place = place;
    }
    this.onChange();
  }

  setLoop(on) {
    this.count();
    const place = this.position;
    this.loop = on;
    if (this.run) {
      this.drop();
      this.place = place;
      this.begin();
    }
    this.onChange();
  }

  /** Tell what was heard since the last time; to the very end when the source has ended. */
  count(toTheEnd = false) {
    if (!this.run) return;
    const passed = Math.max(0, context().currentTime - this.run.began);
    const until = toTheEnd ? Math.max(passed, this.length - this.run.offset) : passed;
    const seconds = until - this.run.counted;
    if (seconds <= 0) return;
    const ranges = played(this.run.offset + this.run.counted, seconds, this.length, this.loop);
    this.run.counted = until;
    this.onHeard(this.active, ranges);
  }
}
