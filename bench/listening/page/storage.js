// What this browser keeps for the page: what was typed and not saved yet, and whether keys are on. Where it keeps
// nothing (a private window, storage blocked), the page's own memory does until it is closed.

class Kept {
  constructor(find) {
    this.memory = new Map();
    try {
      this.store = find();
      this.store.setItem("try", "1");
      this.store.removeItem("try");
    } catch {
      this.store = null;
    }
  }

  get(key) {
    if (this.memory.has(key)) return this.memory.get(key);
    try {
      return this.store ? this.store.getItem(key) : null;
    } catch {
      return null;
    }
  }

  put(key, value) {
    this.memory.set(key, value);
    try {
      if (this.store) this.store.setItem(key, value);
    } catch {
      this.store = null; // full, or blocked meanwhile
    }
  }

  drop(key) {
    this.memory.delete(key);
    try {
      if (this.store) this.store.removeItem(key);
    } catch {
      this.store = null;
    }
  }

  /** Whether what is put here survives closing the page. */
  get lasts() {
    return this.store !== null;
  }
}

export const browser = new Kept(() => window.localStorage);
export const tab = new Kept(() => window.sessionStorage);

const drafts = new Map(); // what this page shows; what another tab typed meanwhile must not slip into it
const key = (of) => `draft/${of.id}`;

/** What is filled in and not saved, unless the pair was rated since, in another tab or on another device. */
export function draft(of) {
  if (!drafts.has(of.id)) drafts.set(of.id, JSON.parse(browser.get(key(of))));
  const kept = drafts.get(of.id);
  if (kept && kept.revision === of.revision) return kept.value;
  const empty = { a: null, b: null, a_second: null, b_second: null, comparison: null, note: "" };
  return { ...empty, ...of.answer };
}

export function keep(of, value) {
  const kept = { revision: of.revision, value };
  drafts.set(of.id, kept);
  browser.put(key(of), JSON.stringify(kept));
}

export function forget(of) {
  drafts.set(of.id, null);
  browser.drop(key(of));
}

/** Whether something that was typed goes when the page is closed. */
export const wouldLose = () => !browser.lasts && [...drafts.values()].some((kept) => kept !== null);
