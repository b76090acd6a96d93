// Asks the admin API as whoever typed the token. The token lives as long as the tab does.

const KEY = "ficus-token";
/** The stream sends a comment every five seconds: one that is silent for longer is gone. */
const SILENT = 15_000;

let leaving = null;

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `the orchestrator answers ${status}`);
    this.status = status;
    this.complaints = problem.complaints ?? [];
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (text) => sessionStorage.setItem(KEY, text),
  clear: () => sessionStorage.removeItem(KEY),
};

function headers(more = {}) {
  const held = token.get();
  return held ? { ...more, authorization: `Bearer ${held}` } : more;
}

/** Asks the orchestrator that served this page. One that does not lead any more sends to another origin, where neither this page's
 *  policy nor its token reaches: the whole page goes there, by the same way. */
async function call(path, options) {
  const answer = await fetch(`/api/v1${path}`, { ...options, credentials: "omit", redirect: "manual" });
  if (answer.type !== "opaqueredirect") return answer;
  // Once, and not at once: while the lead changes hands, nobody is asked in a hurry.
  leaving ??= setTimeout(() => location.reload(), 500);
  throw new Refused(0, { detail: "another orchestrator leads now: its console is opened" });
}

/** Asks, and gives the JSON of the answer; throws `Refused` with the sentence of a refusal. */
export async function ask(method, path, body) {
  const options = { method, headers: headers(body ? { "content-type": "application/json" } : {}) };
  if (body) options.body = JSON.stringify(body);
  let answer;
  try {
    answer = await call(path, options);
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Refused(0, { detail: "the orchestrator does not answer: is it running?" });
  }
  const text = await answer.text();
  if (!answer.ok) throw new Refused(answer.status, parsed(text));
  return text ? JSON.parse(text) : null;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

/** Follows the events, with those of a capability's curves if one is named, until `signal` ends it: `onEvent(kind, data)`. Whoever is
 *  disconnected connects again by itself. `EventSource` cannot send the token, so the stream is read by hand. */
export async function follow(capability, onEvent, onConnection, signal) {
  const path = capability ? `/events?capability=${encodeURIComponent(capability)}` : "/events";
  for (let pause = 500; !signal.aborted; pause = Math.min(pause * 2, 8_000)) {
    try {
      await once(path, (kind, data) => {
        pause = 500;
        onConnection("live");
        onEvent(kind, data);
      }, signal);
    } catch (error) {
      if (error.status === 401 || error.status === 403) {
        onConnection("locked", error);
        return;
      }
    }
    if (signal.aborted) return;
    onConnection("lost");
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

async function once(path, onEvent, signal) {
  const connection = new AbortController();
  const end = () => connection.abort();
  signal.addEventListener("abort", end);
  let silence = setTimeout(end, SILENT);
  try {
    const answer = await call(path, { headers: headers(), signal: connection.signal });
    if (!answer.ok) throw new Refused(answer.status, parsed(await answer.text()));
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(silence);
      silence = setTimeout(end, SILENT);
      const messages = (rest + value).split("\n\n");
      rest = messages.pop();
      for (const message of messages) {
        const lines = message.split("\n");
        const field = (name) => lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).trimStart()).join("\n");
        if (field("data") && !signal.aborted) onEvent(field("event"), JSON.parse(field("data")));
      }
    }
  } finally {
    clearTimeout(silence);
    signal.removeEventListener("abort", end);
    end();
  }
}
