// The path ahead, as `ficus plan` tells it: the steps, how long each lasts, and what somebody has to do for it.

import { h } from "./dom.js";
import { coded, lasting, number, words } from "./words.js";

/** One capability's path, of the plan of all. */
export function ahead(plan, name) {
  if (!plan) return h("p", { class: "note" }, "Loading…");
  const path = plan.capabilities.find((one) => one.name === name)?.path;
  if (!path) return h("p", { class: "note" }, "Nothing lies ahead: it is retired.");
  return [
    h("p", { class: path.ends ? "trouble" : "note" }, coded(path.ends ? `The path ends early: ${path.ends}.` : `It may retire in ${span(path.lasts_ms)} at the earliest.`),
      path.switch && !path.ends && ` The next switch would hold the writes for ${number(path.switch.pause_ms)} ms.`,
      path.back && ` The way back would hold the writes for ${number(path.back.pause_ms)} ms.`),
    path.in_the_way.length > 0 && h("ul", { class: "waiting", "aria-label": "In the way" }, path.in_the_way.map(({ text }) => h("li", {}, coded(text)))),
    h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Steps ahead" }, h("table", {},
      h("thead", {}, h("tr", {}, ["Step", "Begins", "Lasts", "Needs", "Gates"].map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, path.legs.map((leg, at) => h("tr", { "data-key": `${at} ${leg.name}`, "aria-current": at === 0 ? "step" : null },
        h("th", { scope: "row" }, words(leg.name)), h("td", {}, leg.begins_ms ? `in ${span(leg.begins_ms)}` : "now"),
        h("td", {}, leg.name === "draft" || leg.name === "retire" ? "–" : span(leg.lasts_ms)),
        h("td", {}, coded([...leg.after.map(moved), ...leg.needs.map(({ text }) => text)].join("; ") || "–")), h("td", {}, leg.gates.join(", ") || "–")))))),
  ];
}

const moved = ({ capability, moved_ms }) => `begins when ${capability} has moved, in ${span(moved_ms)}`;
const span = (ms) => lasting(ms / 1000);
