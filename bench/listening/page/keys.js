// One key, one action: the very functions that the buttons call, so that the rules are the same.

const TYPING = "textarea, input:not([type=radio]):not([type=checkbox]):not([type=range])";

/** Call `actions[name]` for the keys; `live()` says whether keys count now: not where there is no pair to play. */
export function listen(actions, live) {
  document.addEventListener("keydown", (event) => {
    const on = event.target instanceof Element ? event.target : document.body;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && live()) {
      event.preventDefault();
      actions.save();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !live()) return;
    if (on.closest(TYPING)) return;
    const action = find(event, on, actions);
    if (!action) return;
    event.preventDefault();
    if (!event.repeat || event.key.startsWith("Arrow")) action();
  });
  // A control that was pressed with the mouse does not keep the keys: after a click on A, Space still plays and
  // pauses, and after a click on a score the arrows move in the clip and leave the score alone.
  document.addEventListener("click", (event) => {
    if (event.pointerType === "mouse" && live()) event.target.closest("button, input[type=radio]")?.blur();
  });
}

function find(event, on, actions) {
  const { key } = event;
  // What a focused control does with a key by itself stays its own.
  const presses = on.closest("button, a, summary, input[type=checkbox]");
  const radio = on.closest("input[type=radio]");
  if (key === " ") return presses || radio ? null : actions.play;
  if (key === "Enter") return presses ? null : actions.save;
  if (key === "ArrowLeft" || key === "ArrowRight") {
    if (radio) return null;
    return () => actions.move(key === "ArrowLeft" ? -1 : 1);
  }
  if (key === "Home") return actions.again;
  if (/^[1-5]$/.test(key)) return () => actions.score(Number(key));
  const letters = {
    k: actions.play,
    a: actions.hearA,
    b: actions.hearB,
    x: actions.switch,
    r: actions.reference,
    l: actions.loop,
    n: actions.note,
    p: actions.previous,
    "[": () => actions.compare(-1),
    "]": () => actions.compare(1),
    "?": actions.help,
  };
  return letters[key.toLowerCase()] ?? null;
}
