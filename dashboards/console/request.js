// A request that is only asked about: which side would serve it, and why.

import { Refused, ask } from "./api.js";
import { h } from "./dom.js";
import { phase, words } from "./words.js";

const REASONS = {
  no_route: "no route of any capability takes it: the default upstream serves it",
  pinned: "its route stays on that side, by the file",
  override: "an operator pinned it",
  owner_writes: "writes go to the owner",
  owner_reads: "no reads are ramped in this phase: they go to the owner",
  in_cohort: "the caller is inside the share whose reads modern serves",
  outside_cohort: "the caller is outside the share whose reads modern serves",
  own_writes: "the caller wrote a moment ago, and the other side may not have it yet",
  copy_behind: "the other side's copy is too old",
  flag_off: "the route's flag is off for the caller",
  modern_down: "the modern side does not answer",
  identity_unknown: "who calls could not be found out",
};

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

export const title = () => "Try a request";

export function render({ explained, refresh }) {
  return [
    h("div", { class: "head" }, h("div", {}, h("h1", { tabindex: "-1" }, "Try a request"),
      h("p", { class: "lead" }, "Says what the gateways would do with it, by the function that they call. Nothing is sent."))),
    h("section", { class: "panel", "aria-label": "Request" }, form(refresh)),
    h("div", { "aria-live": "polite" }, explained && answer(explained)),
  ];
}

function form(refresh) {
  return h("form", { class: "ask", onsubmit: async (event) => {
    event.preventDefault();
    const { method, target, user, host, headers } = Object.fromEntries(new FormData(event.target));
    const pairs = headers.split("\n").filter((line) => line.includes(":")).map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]);
    try {
      refresh({ explained: await ask("POST", "/explain", { method, target, host: host.trim(), user: user.trim() || null, headers: pairs }) });
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      refresh({ explained: { refused: error.message } });
    }
  } },
    h("div", { class: "field narrow" }, h("label", { for: "ask-method" }, "Method"), h("select", { id: "ask-method", name: "method" }, METHODS.map((method) => h("option", {}, method)))),
    h("div", { class: "field grow" }, h("label", { for: "ask-target" }, "Path and query"), h("input", { id: "ask-target", name: "target", type: "text", required: true, placeholder: "/api/v1/users/42/", autocomplete: "off", spellcheck: "false" })),
    h("div", { class: "field" }, h("label", { for: "ask-user" }, "User id"), h("input", { id: "ask-user", name: "user", type: "text", autocomplete: "off" })),
    h("div", { class: "field" }, h("label", { for: "ask-host" }, "Host"), h("input", { id: "ask-host", name: "host", type: "text", autocomplete: "off" })),
    h("div", { class: "field full" }, h("label", { for: "ask-headers" }, "Headers, one a line"), h("textarea", { id: "ask-headers", name: "headers", rows: "2", spellcheck: "false" })),
    h("button", { type: "submit", class: "primary" }, "Explain"));
}

function answer({ refused, decision, phase: at, generation, new_here: fresh }) {
  if (refused) return h("section", { class: "panel", "aria-label": "Answer" }, h("p", { class: "banner bad" }, refused));
  const because = words(decision.because);
  const rows = [
    ["Side", h("strong", { class: `side ${decision.side}` }, decision.side)],
    ["Because", REASONS[decision.because] ?? because],
    ["Capability", decision.capability ? [h("a", { href: `#/capability/${encodeURIComponent(decision.capability)}` }, decision.capability), " ", at && phase(at)] : "none"],
    ["Route", decision.route && h("code", {}, decision.route)],
    ["Rewritten", decision.upstream_path && h("code", {}, decision.upstream_path)],
    ["Admission", { forward: "forwarded", hold: "held until the fence opens", refuse: "refused: the pinned side does not own the tables" }[decision.admission]],
    ["Shadow", decision.shadow && "a copy goes to the other side"],
    ["Fallback", decision.fallback && "a failure of modern is answered by legacy"],
    ["CSRF", decision.csrf && "the gateway checks the token first"],
    ["Caller", fresh && "new here: the gateway makes an id, which may fall on the other side of the share"],
    ["Generation", String(generation)],
  ];
  return h("section", { class: "panel", "aria-label": "Answer" }, h("h2", {}, "Answer"),
    h("dl", { class: "answer" }, rows.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))));
}
