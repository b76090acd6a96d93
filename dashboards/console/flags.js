// What operators may override: flags, and pins of reads.

import { flag, unpin } from "./actions.js";
import { h } from "./dom.js";
import { clock, percent } from "./words.js";

export const title = () => "Flags and pins";

export function render({ flags, status }) {
  return [
    h("div", { class: "head" }, h("div", {}, h("h1", { tabindex: "-1" }, "Flags and pins"), h("p", { class: "lead" }, "What operators say wins over the files until it ends or is removed."))),
    h("section", { class: "panel", "aria-labelledby": "flags" }, h("h2", { id: "flags" }, "Flags"), list(flags)),
    h("section", { class: "panel", "aria-labelledby": "pins" }, h("h2", { id: "pins" }, "Pins"), pins(status.overrides.pins)),
  ];
}

function list(flags) {
  if (!flags) return h("p", { class: "note" }, "Loading…");
  if (!flags.length) return h("p", { class: "note" }, "No flag yet: write one into flags.toml in the rules directory.");
  return h("ul", { class: "lines" }, flags.map((one) => h("li", { "data-key": one.name },
    h("div", {}, h("h3", {}, one.name), h("p", { class: "note" }, one.description),
      h("p", {}, `File: ${inFile(one)}`), one.overridden && h("p", { class: "over" }, `Overridden: ${one.overridden.variant ?? (one.overridden.on ? "on" : "off")} (${one.overridden.note})`, ends(one.overridden))),
    h("div", { class: "actions", role: "group", "aria-label": `Actions for ${one.name}` },
      choices(one),
      one.overridden && h("button", { type: "button", "aria-label": `Clear the override of ${one.name}`, onclick: () => flag(one.name, null) }, "Clear")))));
}

/** A flag is turned on or off; of one with variants, everybody gets one of them. */
function choices({ name, variants }) {
  const names = Object.keys(variants);
  if (names.length) return names.map((variant) => h("button", { type: "button", "aria-label": `Give everybody ${variant} of ${name}`, onclick: () => flag(name, { variant }) }, variant));
  return [true, false].map((on) => h("button", { type: "button", "aria-label": `Turn ${name} ${on ? "on" : "off"}`, onclick: () => flag(name, { on }) }, on ? "On" : "Off"));
}

function inFile({ killed, default: on, percentage, variants, default_variant: variant }) {
  if (killed) return "killed";
  if (Object.keys(variants).length) return `${variant} of ${Object.keys(variants).join(", ")}`;
  return (on ? "on" : "off") + (percentage === null ? "" : `, on for ${percent(percentage)}`);
}

const ends = ({ expires }) => (expires === null ? "" : [", until ", clock(expires)]);

function pins(all) {
  if (!all.length) return h("p", { class: "note" }, "No reads are pinned. Pin those of a capability on its page.");
  return h("ul", { class: "lines" }, all.map((pin) => h("li", { "data-key": `${pin.capability} ${pin.user}` },
    h("div", {}, h("h3", {}, pin.capability), h("p", {}, `Reads of ${pin.user === null ? "everybody" : `user ${pin.user}`} go to ${pin.side}`, ends(pin)), h("p", { class: "note" }, pin.note)),
    h("div", { class: "actions" }, h("button", { type: "button", onclick: () => unpin(pin), "aria-label": `Remove the pin of ${pin.capability}` }, "Remove")))));
}
