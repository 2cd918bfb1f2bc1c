// Talking to the server. The rater's token is in the page's address after the #, which browsers do not send;
// it goes in a header alone.

export class Refused extends Error {
  constructor(code, message, status) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

export const token = () => location.hash.slice(1);

async function call(method, path, body, keepalive = false) {
  let response;
  try {
    response = await fetch(path, {
      method,
      keepalive,
      cache: "no-store",
      headers: {
        Authorization: `Bearer ${token()}`,
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(20000),
    });
  } catch {
    throw new Refused("offline", "The server cannot be reached. What you saved is safe.", 0);
  }
  if (!response.ok) {
    let said = {};
    try {
      said = await response.json();
    } catch {
      // An answer that is not ours, from a proxy perhaps: the status must do.
    }
    throw new Refused(said.error ?? "broken", said.message ?? `The server answered ${response.status}.`, response.status);
  }
  return response;
}

export const session = async () => (await call("GET", "/api/session")).json();
export const results = async () => (await call("GET", "/api/results")).json();
export const clip = async (ticket) => (await call("GET", `/api/clips/${ticket}`)).arrayBuffer();
/** Kept alive when the page is left: what was heard must not be lost by going. */
export const heard = async (trial, ranges) => (await call("POST", `/api/trials/${trial}/heard`, ranges, true)).json();
export const answer = async (trial, given) => (await call("POST", `/api/trials/${trial}/answer`, given)).json();
export const headphones = async (result) => (await call("POST", "/api/headphones", { result })).json();
export const finish = async () => (await call("POST", "/api/finish")).json();
