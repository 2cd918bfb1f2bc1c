// Three spoken digits, typed in: no browser tells a page whether anybody hears it, and silence must not count as heard.
// There is no way past it. Once for each tab; the server wants it once of each rater before anything counts as heard.

import * as api from "./api.js";
import { context, letSoundOut } from "./player.js";
import { tab } from "./storage.js";

const HELP = [
  "That is not what was said. Turn the sound up and play the three new digits.",
  "That is not it either. Is the tab or the whole device muted? Is the right loudspeaker chosen? On an iPhone, look at the switch on its side. Then play the three new digits.",
];

const at = (id) => document.getElementById(id);
let clip = null;
let tries = 0;
let passed = () => {};

export const needed = (session) => !session.sound_checked || tab.get("sound-checked") !== "yes";

/** Prepare the check; `then()` is called when it was passed, `fail(error)` when the server cannot be asked. */
export function wire(then, fail) {
  passed = then;
  at("digits-play").addEventListener("click", () => void play().catch(fail));
  at("digits-form").addEventListener("submit", (event) => {
    event.preventDefault();
    void check().catch(fail);
  });
}

/** Begin anew. */
export function reset() {
  clip = null;
  at("digits").value = "";
  at("digits-said").textContent = "";
}

async function play() {
  at("digits-play").disabled = true;
  if (!clip) at("digits-said").textContent = "Loading …";
  try {
    const running = await letSoundOut();
    clip = clip || (await api.soundCheck());
    if (!running) {
      at("digits-said").textContent = "This browser does not let sound out yet. Press the button once more.";
      return;
    }
    const source = new AudioBufferSourceNode(context(), { buffer: await context().decodeAudioData(clip.slice(0)) });
    source.connect(context().destination);
    source.start();
    at("digits-said").textContent = "";
    at("digits").focus();
  } finally {
    at("digits-play").disabled = false;
  }
}

async function check() {
  const typed = at("digits").value.replace(/\D/g, "");
  if (!typed || !clip) {
    at("digits-said").textContent = clip ? "Type the three digits that you hear." : "Play the digits first.";
    return;
  }
  const found = await api.digits(typed);
  if (found.passed) {
    tab.put("sound-checked", "yes");
    passed();
    return;
  }
  reset();
  at("digits-said").textContent = HELP[Math.min(tries, HELP.length - 1)];
  tries += 1;
  at("digits-play").focus();
}
