// One capability: where it is, what it waits for, how both sides answer, what differs, and what can be done.

import { buttons } from "./actions.js";
import { ahead } from "./ahead.js";
import { figure, track, waiting } from "./board.js";
import { curves } from "./curves.js";
import { differences, entries, quarantine, stream, tables } from "./data.js";
import { h } from "./dom.js";
import { coded, lasting, number, percent, phase, rows, share, stepName, verdict } from "./words.js";

export const title = ({ name }) => name;

export function render(state) {
  const { status, name, detail, traffic, diffs, journal, quarantine: kept, plan } = state;
  const one = status.capabilities[name];
  if (!one) return [h("h1", { tabindex: "-1" }, name), h("p", {}, "The rules that serve name no such capability. "), h("a", { href: "#/" }, "All capabilities")];
  return [
    h("p", { class: "crumb" }, h("a", { href: "#/" }, "Capabilities"), " / ", name),
    h("div", { class: "head" },
      h("div", {}, h("h1", { tabindex: "-1" }, name, " ", phase(one.phase)),
        h("p", { class: "lead" }, detail?.description || `${detail?.legacy ?? "legacy"} → ${detail?.modern ?? "modern"}`)),
      buttons(name, one, detail)),
    one.trouble && h("p", { class: "banner bad" }, coded(one.trouble)),
    one.holds.length > 0 && h("p", { class: "banner" }, `Held: ${one.holds.join("; ")}`),
    h("section", { class: "panel way", "aria-label": "Way" }, track(one), steps(one, detail), waiting(one, "h2")),
    figures(one, status),
    panel("Gates", gates(one)),
    panel("Ahead", ahead(plan, name)),
    panel("Traffic", [h("p", { class: "note" }, "What the gates judge: reads, and writes once modern owns them."), curves(traffic)]),
    panel("Shadow differences", differences(diffs)),
    detail && panel("Tables", tables(detail, one, status.at)),
    panel("Quarantine", quarantine(one, kept)),
    detail && panel("Routes", routes(detail)),
    panel("Journal", entries(journal, false)),
  ];
}

function panel(name, ...content) {
  const id = `panel-${name.toLowerCase().replaceAll(" ", "-")}`;
  return h("section", { class: "panel", "aria-labelledby": id }, h("h2", { id }, name), content);
}

function figures(one, status) {
  const agent = one.agent;
  const copied = one.backfill && (one.backfill.complete ? rows(one.backfill.done) : `${number(one.backfill.done)} of ${number(one.backfill.total)}`);
  return h("dl", { class: "figures wide", "aria-label": "Figures" },
    figure("Owner of writes", one.owner), figure("Reads on modern", percent(share(one))),
    figure("Lag", one.lag_seconds === null ? "–" : lasting(one.lag_seconds)),
    figure("Drift", one.drift_rows === null ? "–" : rows(one.drift_rows), one.drift_rows ? "bad" : ""),
    figure("Quarantined", one.quarantined, one.quarantined ? "bad" : ""),
    figure("In this step for", lasting(Math.max(0, Math.floor((status.at - one.since) / 1000)))),
    figure("Copied", copied || "–"),
    figure("Last pause of writes", one.last_pause_ms === null ? "–" : `${number(one.last_pause_ms)} ms`),
    agent && figure("Legacy → modern", stream(agent.forward)), agent && figure("Modern → legacy", stream(agent.reverse)));
}

function steps(one, detail) {
  if (!detail?.steps.length) return null;
  return h("ol", { class: "steps", "aria-label": "Steps" }, detail.steps.map((step, at) =>
    h("li", { class: one.step === at + 1 ? "here" : "", "aria-current": one.step === at + 1 ? "step" : null },
      h("span", {}, stepName(step)), h("small", {}, step.approve ? "needs approval" : step.hold_seconds ? `at least ${lasting(step.hold_seconds)}` : ""))));
}

function gates(one) {
  if (!one.gates.length) return h("p", { class: "note" }, "Nothing is judged in this phase.");
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Gates" }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Gate"), h("th", { scope: "col" }, "Verdict"), h("th", { scope: "col" }, "Measured"))),
    h("tbody", {}, one.gates.map((gate) => h("tr", { "data-key": gate.gate },
      h("th", { scope: "row" }, verdict(gate)), h("td", {}, gate.verdict), h("td", {}, gate.measured))))));
}

function routes(detail) {
  const limits = (route) => [...route.methods, ...route.hosts, ...route.conditions, route.flag && `flag ${route.flag}`].filter(Boolean).join(", ");
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Routes" }, h("table", {},
    h("thead", {}, h("tr", {}, ["Path", "On modern", "Limited to", "Stays", "Defined at"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, detail.routes.map((route) => h("tr", {},
      h("th", { scope: "row" }, h("code", {}, route.path)), h("td", {}, h("code", {}, route.modern_path ?? route.path)),
      h("td", {}, limits(route) || "–"), h("td", {}, route.pin ? `on ${route.pin}` : "–"), h("td", {}, h("code", {}, route.source)))))));
}

