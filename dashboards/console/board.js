// The first page: every capability on a card, what stands in the way of it, and who is there.

import { h } from "./dom.js";
import { STATIONS, ago, coded, count, lasting, number, percent, phase, rows, share, verdict } from "./words.js";

export const title = () => "Capabilities";

export function render({ status }) {
  const capabilities = Object.entries(status.capabilities);
  const gone = capabilities.filter(([, one]) => one.owner === "modern").length;
  return [
    h("div", { class: "head" },
      h("div", {}, h("h1", { tabindex: "-1" }, "Capabilities"),
        h("p", { class: "lead" }, capabilities.length
          ? `${gone} of ${capabilities.length} have left the monolith` : "Every request goes to the monolith.")),
      summary(status, capabilities)),
    troubles(status),
    capabilities.length ? h("ul", { class: "cards" }, capabilities.map(([name, one]) => card(name, one))) : empty(),
    fleet(status),
  ];
}

function summary(status, capabilities) {
  const waiting = capabilities.filter(([, one]) => one.waiting_for.some(({ kind }) => kind === "wish")).length;
  const failing = capabilities.filter(([, one]) => one.trouble || one.gates.some((gate) => gate.verdict === "fail")).length;
  const held = status.gateways.reduce((sum, gateway) => sum + gateway.held, 0);
  return h("dl", { class: "figures" },
    figure("Waiting for you", waiting, waiting ? "busy" : ""), figure("In trouble", failing, failing ? "bad" : ""),
    figure("Writes held", held, held ? "busy" : ""), figure("Generation", status.generation));
}

export function figure(name, value, tone = "") {
  return h("div", { class: `figure ${tone}` }, h("dt", {}, name), h("dd", {}, typeof value === "number" ? number(value) : value));
}

function troubles({ rules, overrides }) {
  const errors = rules.complaints.filter((complaint) => !complaint.warning).length;
  const flags = Object.keys(overrides.flags).length;
  return [
    errors > 0 && h("p", { class: "banner bad" }, `The rule files have ${errors} ${errors === 1 ? "error" : "errors"}: the last good ones serve. `,
      h("a", { href: "#/rules" }, "See the rules")),
    overrides.pins.length + flags > 0 && h("p", { class: "banner" },
      `Operators override the files: ${count(overrides.pins.length, "pin")}, ${count(flags, "flag")}. `, h("a", { href: "#/flags" }, "See the overrides")),
  ];
}

function card(name, one) {
  return h("li", { class: "card", "data-key": name },
    h("div", { class: "cardhead" },
      h("h2", {}, h("a", { href: `#/capability/${encodeURIComponent(name)}` }, name)), phase(one.phase)),
    track(one),
    h("dl", { class: "facts" },
      h("div", {}, h("dt", {}, "Owner of writes"), h("dd", {}, one.owner)),
      h("div", {}, h("dt", {}, "Reads on modern"), h("dd", {}, percent(share(one)))),
      h("div", {}, h("dt", {}, "Lag"), h("dd", {}, one.lag_seconds === null ? "–" : lasting(one.lag_seconds))),
      h("div", {}, h("dt", {}, "Drift"), h("dd", { class: one.drift_rows ? "bad" : "" }, one.drift_rows === null ? "–" : rows(one.drift_rows)))),
    meter(one),
    one.gates.length > 0 && h("p", { class: "verdicts" }, one.gates.map(verdict)),
    one.trouble && h("p", { class: "trouble" }, coded(one.trouble)),
    waiting(one, "h3"));
}

/** The reads that modern serves, as a bar. */
function meter(one) {
  return h("progress", { max: 1_000_000, value: share(one), "aria-label": "Reads on modern", "data-key": `${share(one)}` });
}

/** Where it is on its way. */
export function track(one) {
  const at = STATIONS.findIndex(([, phases]) => phases.includes(one.phase));
  return h("ol", { class: "track", "aria-label": "Way" }, STATIONS.map(([name], station) =>
    h("li", { class: station < at ? "past" : station === at ? "here" : "", "aria-current": station === at ? "step" : null },
      h("span", {}, name))));
}

/** What is missing for its next step, under a heading of that level. */
export function waiting(one, heading) {
  if (!one.waiting_for.length) return h("p", { class: "waiting" }, "Going on by itself.");
  return h("div", { class: "waiting" }, h(heading, {}, "Waits for"),
    h("ul", {}, one.waiting_for.map(({ kind, text }) => h("li", { class: kind }, coded(text)))));
}

function empty() {
  return h("section", { class: "panel" }, h("h2", {}, "No capability yet"),
    h("p", {}, "Describe one in a file of the rules directory; it appears here as soon as the file is saved."));
}

function fleet({ gateways, agents, at }) {
  const seen = (reported) => (reported === null ? "not since the start" : ago(reported, at));
  return h("section", { class: "panel", "aria-labelledby": "fleet" }, h("h2", { id: "fleet" }, "Fleet"),
    h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Gateways and agents" }, h("table", {},
      h("thead", {}, h("tr", {}, ["Part", "Name", "Generation", "Reported", "In flight", "State"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {},
        gateways.map((one) => h("tr", { "data-key": `g${one.name}` }, h("td", {}, "gateway"), h("th", { scope: "row" }, one.name),
          h("td", {}, number(one.generation)), h("td", {}, seen(one.reported)), h("td", {}, `${count(one.inflight_writes, "write")}, ${one.held} held`),
          h("td", {}, one.trouble ?? (one.live ? "live" : "gone")))),
        agents.map((one) => h("tr", { "data-key": `a${one.name}` }, h("td", {}, "agent"), h("th", { scope: "row" }, one.name),
          h("td", {}, number(one.generation)), h("td", {}, seen(one.reported)), h("td", {}, "–"), h("td", {}, one.capabilities.join(", ") || "idle")))))));
}
