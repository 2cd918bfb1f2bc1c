// What a rater is shown once their ratings are closed.

const CELLS = {
  practice: "Practice, not counted",
  pair: "Rated",
  repeat: "Again, sides swapped",
  identical: "The same clip twice",
};

const anchor = (found) => (found.hidden_reference ? "The speaker, hidden" : "Attention check: the reference itself");

function cell(tag, text, scope) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (scope) made.scope = scope;
  return made;
}

function mean(name, value) {
  const box = document.createElement("div");
  box.append(cell("p", name), cell("strong", value === null ? "–" : value.toFixed(2)));
  const bar = document.createElement("meter");
  Object.assign(bar, { min: 1, max: 5, value: value ?? 1 });
  bar.setAttribute("aria-label", `${name}: mean score ${value === null ? "none" : value.toFixed(2)} of 5`);
  box.append(bar);
  return box;
}

/** Fill the results section: one test, or all of a sitting. */
export function showResults(first, at) {
  const all = [first, ...first.others];
  at("means").replaceChildren(
    ...all.flatMap((found) => [mean(found.candidate, found.candidate_mean), mean(found.baseline, found.baseline_mean)]),
  );
  const titles = ["Pair", "Kind", "A was", "B was"];
  at("results-head").replaceChildren(...titles.map((title) => cell("th", title, "col")));
  at("results-body").replaceChildren(
    ...all.flatMap((found) => found.answers.map((one) => ({ one, found }))).map(({ one, found }, index) => {
      const row = document.createElement("tr");
      row.append(
        cell("th", String(index + 1), "row"),
        cell("td", CELLS[one.kind] ?? anchor(found)),
        ...[one.a, one.b].map((side) => {
          const made = cell("td", `${side.voice} `);
          made.append(cell("b", String(side.score)));
          return made;
        }),
      );
      return row;
    }),
  );
  const sound = [...new Set(all.flatMap((found) => found.sound))];
  at("results-sound").replaceChildren(...sound.map((text) => cell("li", text)));
  at("results-sound-box").hidden = !sound.length;
  at("results-hash").textContent = first.mapping_sha256;
}
