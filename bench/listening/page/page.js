// The rating page. What a rater may do is decided by the server; this page shows why and never guesses.

import * as api from "./api.js";
import * as clips from "./clips.js";
import * as tones from "./headphones.js";
import { listen } from "./keys.js";
import { Deck, onInterrupted } from "./player.js";
import { union } from "./ranges.js";
import { showResults } from "./results.js";
import * as soundCheck from "./sound_check.js";
import * as storage from "./storage.js";
import { draw } from "./waveform.js";

const SIDES = ["a", "b"];
const REPORT_MS = 1500;
const COUNT_MS = 100;

const at = (id) => document.getElementById(id);
const state = { session: null, index: 0, loaded: null, loading: 0 };

/** The labels of -3 to 3, in the words of the question, with the number that a small screen shows. */
const comparison = () => state.session.comparison.map((text, place) => [place - 3, text, String(Math.abs(place - 3))]);

// ---------------------------------------------------------------- what is shown

const SECTIONS = ["loading", "problem", "welcome", "headphones", "sound", "trial", "review", "waiting", "results"];

function show(name) {
  for (const section of SECTIONS) at(section).hidden = section !== name;
  pair.pause();
  reference.pause();
  at("progress").hidden = !["trial", "review"].includes(name);
  const heading = at(name).querySelector("h1");
  window.scrollTo(0, 0);
  heading?.focus({ preventScroll: true });
  drawAll();
}

const shown = () => SECTIONS.find((name) => !at(name).hidden);

function say(text) {
  at("said").textContent = text;
}

function warn(text) {
  at("banner").textContent = text ?? "";
  at("banner").hidden = !text;
}

function fail(error, before = "", after = "") {
  if (error.status === 401) problem(error);
  else warn(`${before}${error.message}${after}`);
}

function problem(error) {
  const lasting = error.status === 401;
  at("problem").querySelector("h1").textContent = lasting ? "This link does not open a test" : "The test cannot be opened now";
  at("problem-text").textContent = error.message;
  show("problem");
}

const AGAIN = " Trying again …";
const { passes } = api;

// ---------------------------------------------------------------- playing

const pair = new Deck({
  onHeard: (side, ranges) => {
    const of = pendingOf(state.loaded.id);
    of[side] = union([...of[side], ...ranges]);
  },
  onChange: () => {
    if (pair.playing) reference.pause();
    else void report();
    showPlaying();
  },
});
const reference = new Deck({
  onChange: () => {
    if (reference.playing) pair.pause();
    showPlaying();
  },
});

onInterrupted(() => {
  if (!pair.playing && !reference.playing) return;
  pair.pause();
  reference.pause();
  warn("The sound was interrupted. Press play to go on; nothing was counted meanwhile.");
});

function showPlaying() {
  at("play").classList.toggle("on", pair.playing);
  at("play").setAttribute("aria-label", pair.playing ? "Pause" : "Play");
  at("reference-play").classList.toggle("on", reference.playing);
  at("reference-play").setAttribute("aria-label", reference.playing ? "Pause the reference" : "Play the reference");
  at("loop").setAttribute("aria-pressed", String(pair.loop));
  for (const side of SIDES) {
    const active = pair.active === side;
    at(`side-${side}`).setAttribute("aria-pressed", String(active));
    document.querySelectorAll(`[data-side=${side}]`).forEach((part) => part.classList.toggle("active", active));
  }
  drawAll();
}

function heardSoFar(current, side) {
  const unsaid = [...underway, ...pending].filter(([id]) => id === current.id);
  return union([...current.heard[side], ...unsaid.flatMap(([, ranges]) => ranges[side])]);
}

function drawAll() {
  if (!state.loaded || shown() !== "trial") return;
  for (const side of SIDES) {
    draw(at(`wave-${side}`), state.loaded.both, {
      heard: heardSoFar(trial(), side),
      position: pair.position,
      lively: pair.active === side,
    });
  }
  if (state.loaded.voice) {
    draw(at("reference-wave"), state.loaded.voice, {
      heard: [[0, reference.position]],
      position: reference.playing ? reference.position : null,
    });
  }
  const slider = at("position");
  slider.value = String(pair.length ? Math.round((pair.position / pair.length) * 1000) : 0);
  slider.setAttribute("aria-valuetext", `${Math.round(Number(slider.value) / 10)} per cent`);
}

function animate() {
  pair.count();
  if (pair.playing || reference.playing) drawAll();
  requestAnimationFrame(animate);
}

// ---------------------------------------------------------------- what was heard, told to the server

const pending = new Map(); // by trial: what was heard belongs to the pair that was played, whichever is shown
let underway = []; // the same, sent and not yet answered
let sending = null;
let unheardOf = false; // the last report did not get through, and the banner says so

function pendingOf(id) {
  if (!pending.has(id)) pending.set(id, { a: [], b: [] });
  return pending.get(id);
}

/** Send all that is pending, after what is on its way; resolves when it has been answered. */
async function report() {
  while (sending) await sending;
  sending = flush();
  await sending;
  sending = null;
}

async function flush() {
  const all = [...pending].filter(([, ranges]) => ranges.a.length || ranges.b.length);
  pending.clear();
  if (!all.length) return;
  underway.push(...all);
  await Promise.all(all.map(([id, ranges]) => sendHeard(id, ranges)));
  underway = underway.filter((one) => !all.includes(one));
  showNeeds();
  drawAll();
}

async function sendHeard(id, ranges) {
  try {
    const known = await api.heard(id, rounded(ranges));
    const heardOf = state.session.trials.find((one) => one.id === id);
    Object.assign(heardOf, { heard: known.heard, full: known.full });
    if (unheardOf) warn(null); // what else is said stays
    unheardOf = false;
  } catch (error) {
    if (passes(error)) {
      for (const side of SIDES) pendingOf(id)[side].push(...ranges[side]);
    }
    if (error.code === "finished") return;
    unheardOf = true;
    fail(error, "", passes(error) ? AGAIN : "");
  }
}

const rounded = (sent) =>
  Object.fromEntries(
    SIDES.map((side) => [side, sent[side].map((range) => range.map((x) => Math.round(x * 1000) / 1000)).slice(-60)]),
  );

setInterval(() => {
  pair.count();
  if (pair.playing) showNeeds();
}, COUNT_MS);
setInterval(() => {
  if (!sending && (!document.hidden || pair.playing)) void report();
}, REPORT_MS);
window.addEventListener("pagehide", () => {
  pair.count();
  void flush();
});

// ---------------------------------------------------------------- one pair

const trial = () => state.session?.trials[state.index] ?? null;
const { draft } = storage;

async function open(index) {
  const turn = (state.loading += 1);
  pair.pause();
  await report();
  if (turn !== state.loading) return;
  pair.load({});
  state.loaded = null;
  state.index = index;
  const current = trial();
  pair.loop = false;
  reference.load({});
  fill(current);
  show("trial");
  showProgress();
  at("deck").setAttribute("aria-busy", "true");
  showLoading();
  try {
    const [voice, a, b] = await Promise.all(needed(current).map((ticket) => ticket && clips.sound(ticket)));
    if (turn !== state.loading) return;
    state.loaded = { id: current.id, both: [a, b], voice: voice && [voice] };
    pair.load({ a, b });
    if (voice) reference.load({ voice });
    at("deck").setAttribute("aria-busy", "false");
    warn(null);
    ahead();
  } catch (error) {
    if (turn !== state.loading) return;
    fail(error);
  }
  showLoading();
  drawAll();
}

/** What a pair needs, in the order in which it comes. */
const needed = (one) => [one.reference, one.a, one.b];

function askFor(one) {
  for (const ticket of needed(one)) if (ticket) clips.ask(ticket);
}

/** Fetch the pairs that come next while this one is listened to: two, so that a hurried pair costs no wait. */
function ahead() {
  for (const next of openAfter().slice(0, 2)) askFor(state.session.trials[next]);
}

/** How far the pair that is waited for is; a download that broke says so, and that it goes on. */
function showLoading(error = null) {
  if (shown() !== "trial") return;
  const waits = at("deck").getAttribute("aria-busy") === "true";
  at("loading-pair").hidden = !waits;
  if (!waits) return;
  const share = clips.share(needed(trial()).filter(Boolean));
  at("loading-bar").value = share;
  at("loading-text").textContent = `Loading this pair: ${Math.floor(100 * share)} %`;
  warn(error ? `${error.message}${AGAIN}` : null);
}

clips.onStep(showLoading);

/** The pairs that are counted; a practice pair comes before them. */
const counted = () => state.session.trials.filter((one) => !one.practice);

function nameOf(one, after = "") {
  return one.practice ? "Practice pair, not counted" : `Pair ${counted().indexOf(one) + 1}${after}`;
}

function fill(current) {
  const value = draft(current);
  at("trial-title").textContent = nameOf(current, ` of ${counted().length}`);
  at("words").textContent = current.words ? `Both say: “${current.words}”` : "The two say different words.";
  at("reference").hidden = !current.reference;
  at("reference-missing").hidden = Boolean(current.reference);
  for (const side of SIDES) {
    check(`score-${side}`, value[side]);
    check(`second-${side}`, value[`${side}_second`]);
  }
  check("comparison", value.comparison);
  at("comparison-clear").hidden = value.comparison === null;
  at("note").value = value.note;
  at("note-box").open = value.note !== "";
  at("previous").disabled = state.index === 0;
  at("save").textContent = state.index + 1 === state.session.trials.length ? "Save and look over" : "Save and continue";
  showNeeds();
}

function check(group, value) {
  for (const input of at(group).querySelectorAll("input")) {
    input.checked = input.value === String(value);
    input.parentElement.classList.toggle("chosen", input.checked);
  }
  // A small screen has no room for every label: the ends and the chosen one stand below.
  const scale = group === "comparison" ? comparison() : state.session.scale.map((text, index) => [index + 1, text]);
  const words = [scale[0], scale.find(([number]) => number === value), scale[scale.length - 1]];
  at(`ends-${group.replace("score-", "")}`).replaceChildren(
    ...words.map((found) => Object.assign(document.createElement("span"), { textContent: found?.[1] ?? "" })),
  );
}

function change(part, value) {
  const current = trial();
  if (!current) return;
  storage.keep(current, { ...draft(current), [part]: value });
  if (part.endsWith("_second")) check(`second-${part[0]}`, value);
  else if (part !== "note") check(part === "comparison" ? part : `score-${part}`, value);
  at("comparison-clear").hidden = draft(current).comparison === null;
  showNeeds();
}

/** What keeps this pair from being saved, in words. */
function needs() {
  const current = trial();
  if (!current) return [];
  const value = draft(current);
  const unheard = SIDES.filter((side) => !current.full[side]).map((side) => side.toUpperCase());
  const unscored = SIDES.filter((side) => !value[side]).map((side) => side.toUpperCase());
  const asked = state.session.second_question ? SIDES : [];
  const unanswered = asked.filter((side) => !value[`${side}_second`]).map((side) => side.toUpperCase());
  return [
    ...(unheard.length ? [`hear ${unheard.join(" and ")} to the end`] : []),
    ...(unscored.length ? [`score ${unscored.join(" and ")}`] : []),
    ...(unanswered.length ? [`answer the second question for ${unanswered.join(" and ")}`] : []),
  ];
}

function showNeeds() {
  const current = trial();
  if (!current) return;
  const left = needs();
  at("missing").textContent = left.length ? `Still to do: ${left.join(", ")}.` : "";
  at("save").classList.toggle("waiting", left.length > 0);
  for (const side of SIDES) {
    const full = current.full[side];
    const tag = at(`state-${side}`);
    tag.textContent = full ? "Heard" : "Not yet heard in full";
    tag.classList.toggle("done", full);
  }
}

function showProgress() {
  const trials = counted();
  const done = trials.filter((one) => one.answer).length;
  at("progress-bar").max = trials.length;
  at("progress-bar").value = done;
  at("progress-text").textContent = `${done} of ${trials.length} rated`;
}

async function save() {
  const current = trial();
  if (!current || shown() !== "trial" || state.saving) return;
  pair.count();
  state.saving = true;
  try {
    await report();
    const left = needs();
    if (left.length) {
      at("missing").textContent = `Not saved yet. Still to do: ${left.join(", ")}.`;
      say(at("missing").textContent);
      at("missing").classList.remove("nudge");
      requestAnimationFrame(() => at("missing").classList.add("nudge"));
      return;
    }
    const value = draft(current);
    const known = await api.answer(current.id, { ...value, note: value.note.trim(), revision: current.revision });
    current.revision = known.revision;
    current.answer = { ...value, note: value.note.trim() };
    storage.forget(current);
    warn(null);
    say("Saved. You can close this page and come back to it.");
    await forward();
  } catch (error) {
    if (error.code === "changed_elsewhere" || error.code === "finished") await reloadSession(error.message);
    else fail(error, error.code === "offline" ? "Not saved: your scores stay filled in, save them again. " : "");
  } finally {
    state.saving = false;
  }
}

/** The places of the other pairs without an answer: those after this one first. */
function openAfter() {
  const open = state.session.trials.map((_, index) => index).filter((index) => index !== state.index && !state.session.trials[index].answer);
  return [...open.filter((index) => index > state.index), ...open.filter((index) => index < state.index)];
}

async function forward() {
  const [next] = openAfter();
  if (next === undefined) {
    review();
    return;
  }
  await open(next);
  const done = counted().filter((one) => one.answer).length;
  if (isPause(done)) warn(`${done} of ${counted().length} pairs are rated: a good moment for a pause. You can close this page and come back.`);
}

/** A long sitting has pauses: ears that are tired hear less. */
const isPause = (done) => state.session.break_after && done > 0 && done % state.session.break_after === 0;

async function reloadSession(message) {
  const current = trial();
  try {
    state.session = await api.session();
  } catch (error) {
    fail(error, `${message} `);
    return;
  }
  if (state.session.finished) {
    await reveal();
  } else {
    if (current) storage.forget(current);
    await open(state.index);
  }
  warn(message);
}

// ---------------------------------------------------------------- looking over, submitting

function review() {
  showProgress();
  const list = at("review-list");
  list.replaceChildren(
    ...state.session.trials.map((one, index) => {
      const item = document.createElement("li");
      const name = document.createElement("span");
      name.textContent = nameOf(one);
      const scores = document.createElement("span");
      const { a, b, a_second, b_second } = one.answer;
      scores.textContent = a_second ? `A ${a}, ${a_second}   B ${b}, ${b_second}` : `A ${a}   B ${b}`;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "link";
      button.textContent = "Change";
      button.setAttribute("aria-label", one.practice ? "Change the practice pair" : `Change ${nameOf(one).toLowerCase()}`);
      button.addEventListener("click", () => void open(index));
      item.append(name, scores, button);
      return item;
    }),
  );
  show("review");
}

async function submit() {
  try {
    await api.finish();
    await reveal();
    warn(null);
  } catch (error) {
    fail(error);
  }
}

async function reveal() {
  let found;
  try {
    found = await api.results();
  } catch (error) {
    if (error.code !== "others_rate") throw error;
    at("waiting-text").textContent = error.message;
    show("waiting");
    return;
  }
  showResults(found, at);
  show("results");
}

// ---------------------------------------------------------------- welcome, headphones

function welcome() {
  const { session } = state;
  const done = session.trials.filter((one) => one.answer).length;
  const rated = counted().filter((one) => one.answer).length;
  at("welcome-second").textContent = session.second_question ?? "";
  at("welcome-second").hidden = !session.second_question;
  at("welcome-name").textContent = session.rater;
  const last = session.scale.length - 1;
  at("welcome-scale").textContent = session.scale
    .map((label, index) => (index === 0 || index === last ? `${index + 1} is “${label.toLowerCase()}”` : null))
    .filter(Boolean)
    .join(", ");
  const practice = session.trials.some((one) => one.practice) ? " and one to practise on" : "";
  at("welcome-size").textContent = `${counted().length} pairs${practice}, about ${session.minutes} minutes in all`;
  at("welcome-reference").hidden = !session.trials.some((one) => one.reference);
  at("welcome-name-again").textContent = session.rater;
  at("seal-hash").textContent = session.mapping_sha256;
  at("question-hash").textContent = session.question_sha256;
  at("start").textContent = done ? `Continue (${rated} of ${counted().length} rated)` : "Start";
  if (session.headphones === "passed") at("headphones-state").textContent = "Headphone check passed.";
  show("welcome");
}

const check3 = { order: null, round: 0, right: 0, busy: false, told: null };

function openTones() {
  Object.assign(check3, { order: null, round: 0, right: 0, busy: false, told: null });
  at("tones-result").textContent = "";
  at("headphones-close").textContent = "Skip the check";
  showTones();
  show("headphones");
}

function showTones() {
  at("tones-legend").textContent = `Round ${Math.min(check3.round + 1, tones.ROUNDS)} of ${tones.ROUNDS}: which was the quietest?`;
  for (const button of at("tones").querySelectorAll("button")) button.disabled = check3.busy || !check3.order;
  at("tones-play").disabled = check3.busy;
}

async function playTones() {
  check3.order ??= tones.draw();
  check3.busy = true;
  showTones();
  await tones.play(check3.order);
  check3.busy = false;
  showTones();
}

function chooseTone(place) {
  if (check3.order[place] === "softer") check3.right += 1;
  check3.order = null;
  check3.round += 1;
  if (check3.round < tones.ROUNDS) {
    at("tones-result").textContent = "Noted. Play the next three.";
    showTones();
    at("tones-play").focus();
    return;
  }
  const passed = check3.right >= tones.NEEDED;
  at("tones-result").textContent = passed
    ? "That sounds like headphones. Good."
    : "That sounds like loudspeakers, or a noisy room. You can go on; headphones would be better.";
  at("headphones-close").textContent = "Go on";
  at("tones-play").disabled = true;
  for (const button of at("tones").querySelectorAll("button")) button.disabled = true;
  at("headphones-close").focus();
  check3.told = tell(passed ? "passed" : "failed");
}

async function tell(result) {
  try {
    await api.headphones(result);
    state.session.headphones = result;
  } catch (error) {
    fail(error);
  }
}

async function closeTones() {
  if (check3.round < tones.ROUNDS && !state.session.headphones) await tell("skipped");
  await check3.told; // the next page says how it went
  welcome();
}

// ---------------------------------------------------------------- what keys and buttons do

const inTrial = (action) => (...given) => {
  if (shown() === "trial" && state.loaded) action(...given);
};

const toggle = (deck) => (deck.playing ? deck.pause() : void deck.play());

function hear(side) {
  pair.hear(side);
  if (!pair.playing) void pair.play();
}

const actions = {
  play: inTrial(() => toggle(pair)),
  reference: inTrial(() => toggle(reference)),
  hearA: inTrial(() => hear("a")),
  hearB: inTrial(() => hear("b")),
  switch: inTrial(() => pair.hear(pair.active === "a" ? "b" : "a")),
  loop: inTrial(() => pair.setLoop(!pair.loop)),
  again: inTrial(() => pair.seek(0)),
  move: inTrial((way) => pair.seek(pair.position + way * Math.max(0.1, pair.length / 20))),
  score: inTrial((value) => {
    change(pair.active, value);
    say(`${pair.active.toUpperCase()}: ${value}, ${state.session.scale[value - 1]}`);
  }),
  compare: inTrial((way) => {
    const now = draft(trial()).comparison;
    const next = now === null ? way : Math.max(-3, Math.min(3, now + way));
    change("comparison", next);
    say(comparison().find(([value]) => value === next)[1]);
  }),
  note: inTrial(() => {
    at("note-box").open = true;
    at("note").focus();
  }),
  previous: () => {
    if (shown() === "review") void open(state.session.trials.length - 1);
    else if (shown() === "trial" && state.index > 0) void open(state.index - 1);
  },
  save: () => {
    if (shown() === "trial") void save();
  },
  help: () => (at("help").showModal ? at("help").showModal() : at("help").setAttribute("open", "")),
};

function pills(group, options, onPick) {
  at(group).replaceChildren(
    ...options.map(([value, text, short]) => {
      const label = document.createElement("label");
      const input = document.createElement("input");
      const number = document.createElement("b");
      const words = document.createElement("span");
      Object.assign(input, { type: "radio", name: group, value: String(value) });
      input.addEventListener("change", () => onPick(value));
      number.textContent = short ?? String(value);
      words.textContent = text;
      input.setAttribute("aria-label", short ? text : `${value}, ${text}`);
      label.append(input, number, words);
      return label;
    }),
  );
}

function wire() {
  const scale = state.session.scale.map((text, index) => [index + 1, text]);
  for (const side of SIDES) {
    pills(`score-${side}`, scale, (value) => change(side, value));
    pills(`second-${side}`, scale, (value) => change(`${side}_second`, value));
  }
  at("second-question").textContent = state.session.second_question ?? "";
  at("second").hidden = !state.session.second_question;
  pills("comparison", comparison(), (value) => change("comparison", value));
  for (const part of document.querySelectorAll("[data-question]")) part.textContent = state.session.question;
  document.title = "Listening test";
  for (const part of document.querySelectorAll("[data-unkept]")) part.hidden = storage.browser.lasts;
}

function press(id, action) {
  at(id).addEventListener("click", () => action());
}

press("play", actions.play);
press("reference-play", actions.reference);
press("side-a", actions.hearA);
press("side-b", actions.hearB);
press("loop", actions.loop);
press("again", actions.again);
press("previous", actions.previous);
press("review-back", actions.previous);
press("help-open", actions.help);
press("comparison-clear", () => change("comparison", null));
press("submit", () => void submit());
function start() {
  const next = state.session.trials.findIndex((one) => !one.answer);
  if (next >= 0) void open(next);
  else review();
}

press("start", () => {
  const next = state.session.trials.find((one) => !one.answer);
  if (!next || !soundCheck.needed(state.session)) {
    start();
    return;
  }
  soundCheck.reset();
  show("sound");
  askFor(next);
});
soundCheck.wire(() => {
  state.session.sound_checked = true;
  warn(null);
  start();
}, fail);
press("headphones-open", openTones);
press("headphones-close", () => void closeTones());
press("tones-play", () => void playTones());
press("help-close", () => (at("help").close ? at("help").close() : at("help").removeAttribute("open")));
press("problem-retry", () => location.reload());
press("waiting-retry", () => location.reload());
press("skip", () => at("main").focus());
at("skip").addEventListener("click", (event) => event.preventDefault());
for (const button of at("tones").querySelectorAll("button")) {
  button.addEventListener("click", () => chooseTone(Number(button.dataset.tone)));
}
for (const side of SIDES) {
  at(`wave-${side}`).addEventListener("click", (event) => {
    if (!state.loaded) return;
    const box = event.currentTarget.getBoundingClientRect();
    pair.seek(((event.clientX - box.left) / box.width) * pair.length);
    hear(side);
  });
}
at("position").addEventListener("input", (event) => pair.seek((Number(event.target.value) / 1000) * pair.length));
at("note").addEventListener("input", (event) => change("note", event.target.value));
at("answer").addEventListener("submit", (event) => {
  event.preventDefault();
  actions.save();
});
at("keys-on").checked = storage.browser.get("keys") !== "off";
at("keys-on").addEventListener("change", (event) => storage.browser.put("keys", event.target.checked ? "on" : "off"));
window.addEventListener("beforeunload", (event) => {
  if (!storage.wouldLose()) return;
  event.preventDefault();
  event.returnValue = "";
});
window.addEventListener("hashchange", () => location.reload());
window.addEventListener("resize", drawAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
listen(actions, () => at("keys-on").checked && !at("help").open && shown() === "trial");

async function begin() {
  if (!api.token()) {
    problem({ status: 401, message: "Part of the link is missing. Copy the whole of it, with what follows the #." });
    return;
  }
  try {
    state.session = await api.session();
    wire();
    if (state.session.finished) await reveal();
    else welcome();
    if (state.session.notices.length) warn(state.session.notices.join(" "));
  } catch (error) {
    problem(error);
  }
}

requestAnimationFrame(animate);
void begin();
