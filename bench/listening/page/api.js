// Talking to the server. The rater's token is in the page's address after the #, which browsers do not send;
// it goes in a header alone.

export class Refused extends Error {
  constructor(code, message, status) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** Whether an error passes by itself: no connection, too many requests, a server that failed. */
export const passes = (error) => error.status === 0 || error.status === 429 || error.status >= 500;

export const token = () => location.hash.slice(1);

const STALLED_MS = 20000;
const LONGEST_WAIT_MS = 5000;
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const offline = () => new Refused("offline", "The server cannot be reached. What you saved is safe.", 0);

/** Ends a request when nothing came for a while; on a slow line the whole may take as long as it likes. */
class Patience {
  constructor() {
    this.controller = new AbortController();
    this.renew();
  }

  get signal() {
    return this.controller.signal;
  }

  renew() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.controller.abort(), STALLED_MS);
  }

  end() {
    clearTimeout(this.timer);
  }
}

async function call(method, path, { body, keepalive = false, headers = {}, patience = new Patience() } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      keepalive,
      cache: "no-store",
      headers: {
        Authorization: `Bearer ${token()}`,
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: patience.signal,
    });
  } catch {
    patience.end();
    throw offline();
  }
  patience.renew();
  if (!response.ok) {
    let said = {};
    try {
      said = await response.json();
    } catch {
      // An answer that is not ours, from a proxy perhaps: the status must do.
    }
    patience.end();
    throw new Refused(said.error || "broken", said.message || `The server answered ${response.status}.`, response.status);
  }
  return response;
}

async function read(method, path, options = {}) {
  const patience = new Patience();
  const response = await call(method, path, { ...options, patience });
  try {
    return await response.json();
  } catch {
    throw offline();
  } finally {
    patience.end();
  }
}

/** A clip's bytes. `told(have, total, error)` is told how far it is; a download that breaks goes on where it was. */
export async function clip(ticket, told = () => {}) {
  const parts = [];
  let have = 0;
  let total = null;
  for (let pause = 500; total === null || have < total; pause = Math.min(2 * pause, LONGEST_WAIT_MS)) {
    const patience = new Patience();
    try {
      const response = await call("GET", `/api/clips/${ticket}`, { patience, headers: { Range: `bytes=${have}-` } });
      if (response.status === 200) {
        parts.length = 0; // somebody between us does not know of ranges
        have = 0;
      }
      total = have + Number(response.headers.get("Content-Length"));
      for (const reader = response.body.getReader(); ; ) {
        const { done, value } = await reader.read();
        if (done) break;
        patience.renew();
        parts.push(value);
        have += value.length;
        pause = 500;
        told(have, total, null);
      }
    } catch (error) {
      const known = error instanceof Refused ? error : offline();
      if (!passes(known)) throw known;
      told(have, total, known);
      await wait(pause);
    } finally {
      patience.end();
    }
  }
  return new Blob(parts).arrayBuffer();
}

export const session = () => read("GET", "/api/session");
export const results = () => read("GET", "/api/results");
/** Kept alive when the page is left: what was heard must not be lost by going. */
export const heard = (trial, ranges) => read("POST", `/api/trials/${trial}/heard`, { body: ranges, keepalive: true });
export const answer = (trial, given) => read("POST", `/api/trials/${trial}/answer`, { body: given });
export const headphones = (result) => read("POST", "/api/headphones", { body: { result } });
export const soundCheck = async () => (await call("GET", "/api/sound-check")).arrayBuffer();
export const digits = (typed) => read("POST", "/api/sound-check", { body: { digits: typed } });
export const finish = () => read("POST", "/api/finish");
