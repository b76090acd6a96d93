// The console: follows the events, shows the page that the address names, and asks for what that page needs besides when the events
// say that it is another one. It asks for nothing by the clock.

import { Refused, ask, follow, token } from "./api.js";
import * as board from "./board.js";
import * as capability from "./capability.js";
import * as journal from "./data.js";
import { byId, h, say, show } from "./dom.js";
import * as flags from "./flags.js";
import * as request from "./request.js";
import * as rules from "./rules.js";
import { words } from "./words.js";

/** The path ahead changes with each step, and otherwise slowly: until it is so old, other changes do not make it be asked for anew. */
const PLAN = 15_000;

const PAGES = { "": board, capability, journal, request, rules, flags };
const NAVIGATION = [["", "Capabilities"], ["request", "Try a request"], ["rules", "Rules"], ["flags", "Flags and pins"], ["journal", "Journal"]];
const CONNECTIONS = { connecting: "Connecting…", live: "Live", lost: "Not connected: what you see may be old", locked: "Locked" };

const state = { status: null, connection: "connecting", locked: null, page: "", name: "", refresh };
let following = new AbortController();
/** Names of what pages need besides the status. */
const EVERYTHING = ["detail", "traffic", "diffs", "journal", "quarantine", "plan", "flags", "files"];
/** Those that are to be asked for; and whether somebody asks. */
const due = new Set();
let asking = false;

function route() {
  const [page, name = ""] = location.hash.replace(/^#\/?/, "").split("/").map(decoded);
  Object.assign(state, { page: Object.hasOwn(PAGES, page) ? page : "", name, detail: null, traffic: null, diffs: null, quarantine: null, plan: null, journal: null, files: null, flags: null, explained: null });
  byId("page").replaceChildren();
  draw();
  if (state.locked === null) begin();
  byId("page").querySelector("h1")?.focus();
  scrollTo(0, 0);
}

/** What is written in the address; what is not encoded rightly is taken as it stands. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function draw() {
  const locked = state.locked !== null;
  const page = PAGES[state.page];
  const focused = byId("page").contains(document.activeElement);
  document.title = locked ? "Log in · Ficus" : `${page.title(state)} · Ficus`;
  show(byId("nav"), locked ? [] : NAVIGATION.map(([at, name]) => h("a", { href: `#/${at}`, "aria-current": at === state.page || (at === "" && state.page === "capability") ? "page" : null }, name)));
  show(byId("session"), h("span", { class: `connection ${state.connection}`, role: "status" }, CONNECTIONS[state.connection]),
    token.get() && !locked && h("button", { type: "button", id: "leave", onclick: leave }, "Log out"));
  show(byId("bottom"), state.status && !locked ? `Generation ${state.status.generation}` : "");
  if (locked) show(byId("page"), entrance());
  else if (state.status) show(byId("page"), page.render(state));
  else show(byId("page"), h("h1", { tabindex: "-1" }, "Ficus"), h("p", { class: "note" }, "Connecting…"));
  // What had the focus is gone: whoever works by keyboard goes on at the top of the page, not at that of the window.
  if (focused && document.activeElement === document.body) byId("page").querySelector("h1")?.focus();
}

function refresh(more) {
  Object.assign(state, more);
  draw();
}

/** The form for the token. */
function entrance() {
  return h("form", { class: "panel entrance", "data-key": "entrance", onsubmit: (event) => {
    event.preventDefault();
    token.set(new FormData(event.target).get("token").trim());
    begin();
  } },
    h("h1", { tabindex: "-1" }, "Log in"), h("p", {}, "The admin API asks for a token: one that ", h("code", {}, "ficus.toml"), " names under ", h("code", {}, "[orchestrator]"), ". It is forgotten with this tab."),
    h("div", { class: "field" }, h("label", { for: "token" }, "Token"), h("input", { id: "token", name: "token", type: "password", required: true, autocomplete: "off" })),
    h("p", { class: "problem", role: "alert" }, state.locked), h("button", { type: "submit", class: "primary" }, "Log in"));
}

function leave() {
  following.abort();
  token.clear();
  refresh({ connection: "locked", locked: "", status: null });
  byId("token")?.focus();
}

/** Follows the events of this page with the token that there is now. */
function begin() {
  following.abort();
  following = new AbortController();
  const { signal } = following;
  if (!state.status) refresh({ connection: "connecting" });
  // Whoever was disconnected does not know what has changed meanwhile: everything.
  state.changed = null;
  follow(state.page === "capability" ? state.name : null, arrived, (connection, refused) => {
    if (signal.aborted) return;
    if (connection === "lost") state.changed = null;
    if (connection !== "locked") return connection === state.connection || refresh({ connection });
    const wrong = refused.status === 401 ? (token.get() ? "This is not the token." : "") : refused.message;
    token.clear();
    refresh({ connection, locked: wrong, status: null });
    byId("token")?.focus();
  }, signal);
}

function arrived(kind, data) {
  if (kind === "status") stands(data);
  if (kind === "changed") moved(data);
}

function stands(status) {
  const before = state.status;
  const entered = state.locked !== null;
  Object.assign(state, { status, locked: null });
  if (before) tell(before, status);
  draw();
  if (!before && (entered || document.activeElement === document.body)) byId("page").querySelector("h1")?.focus();
  if (!before || !state.changed) return;
  if (!before.capabilities[state.name] && status.capabilities[state.name]) look(EVERYTHING);
  const other = (read) => JSON.stringify(read(before)) !== JSON.stringify(read(status));
  look([other(({ rules }) => rules) && ["files", "flags", "detail"], other(({ overrides }) => overrides) && ["flags"],
    other(({ capabilities }) => capabilities[state.name]) && ["quarantine", "plan"]].flat());
}

/** What is kept beside the status is another one than before. */
function moved(changed) {
  const before = state.changed;
  state.changed = changed;
  if (!before) return look(EVERYTHING);
  look([changed.journal !== before.journal && "journal", changed.differences !== before.differences && "diffs",
    changed.quarantine !== before.quarantine && "quarantine", changed.traffic !== before.traffic && "traffic", "plan"]);
}

/** Steps are said aloud: all of those that came at once, for a second sentence would take the first one's place. */
function tell(before, now) {
  const moved = Object.entries(now.capabilities).filter(([name, one]) => {
    const was = before.capabilities[name];
    return was && (was.phase !== one.phase || was.step !== one.step);
  });
  if (moved.length) say(moved.map(([name, one]) => `${name}: ${words(one.phase)}${one.step ? `, step ${one.step} of ${one.steps}` : ""}`).join("; "));
}

/** Asks for those of `names` that the page needs: one look at a time, and while nobody looks at the page none. */
async function look(names = []) {
  names.filter(Boolean).forEach((name) => due.add(name));
  if (asking || !due.size || document.hidden) return;
  asking = true;
  try {
    while (due.size) {
      const now = new Set(due);
      due.clear();
      if (await find(now)) continue;
      // With the next change, not at once.
      now.forEach((name) => due.add(name));
      return;
    }
  } finally {
    asking = false;
  }
}

/** What the page that is shown needs besides the status: where it is asked for, by name. */
function needed() {
  const { page, name, status, quarantine, plan } = state;
  const of = encodeURIComponent(name);
  const one = status.capabilities[name];
  if (page !== "capability") return { journal: { journal: "/journal?limit=100" }, flags: { flags: "/flags" }, rules: { files: "/rules" } }[page] ?? {};
  if (!one) return {};
  const needs = { detail: `/capabilities/${of}`, traffic: `/capabilities/${of}/traffic`, diffs: `/diffs?capability=${of}`, journal: `/journal?capability=${of}&limit=50` };
  // Values of rows are not for every token; who was refused once is not asked for again.
  if (one.quarantined && !quarantine?.refused) needs.quarantine = `/capabilities/${of}/quarantine`;
  if (plan?.at !== stage(one) || Date.now() - plan.asked > PLAN) needs.plan = "/plan";
  return needs;
}

const stage = (one) => `${one.phase} ${one.step}`;

/** Asks, and shows the answers; whether there were any. */
async function find(names) {
  if (!state.status) return true;
  const { page, name } = state;
  const wanted = Object.entries(needed()).filter(([what]) => names.has(what));
  const at = page === "capability" && state.status.capabilities[name] && stage(state.status.capabilities[name]);
  try {
    const found = await Promise.all(wanted.map(async ([what, path]) => [what, await (what === "quarantine" ? allowed(path) : ask("GET", path))]));
    if (state.page !== page || state.name !== name || !found.length) return true;
    const more = Object.fromEntries(found);
    if (more.diffs) more.diffs = more.diffs.samples;
    if (more.plan) Object.assign(more.plan, { at, asked: Date.now() });
    refresh(more);
    return true;
  } catch (error) {
    // The stream tells that the orchestrator is gone, or that the token is another one.
    if (!(error instanceof Refused)) throw error;
    return false;
  }
}

/** What is asked for, or why this token may not see it. */
async function allowed(path) {
  try {
    return await ask("GET", path);
  } catch (error) {
    if (error.status !== 403) throw error;
    return { refused: error.message };
  }
}

byId("skip").onclick = (event) => {
  event.preventDefault();
  byId("page").focus();
};
addEventListener("hashchange", route);
document.addEventListener("visibilitychange", () => look());
route();
