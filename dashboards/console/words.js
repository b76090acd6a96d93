// How things are called and written, for people.

import { h } from "./dom.js";

/** The stations of a capability's way, and the phases that belong to each. */
export const STATIONS = [
  ["Draft", ["draft"]],
  ["Copy", ["backfilling"]],
  ["Stream", ["streaming", "reverted"]],
  ["Shadow", ["shadowing"]],
  ["Ramp", ["ramping"]],
  ["Cutover", ["fencing", "draining", "catching_up", "verifying", "reverting"]],
  ["Soak", ["soaking"]],
  ["Retired", ["retired"]],
];

const TONES = {
  draft: "quiet", backfilling: "busy", streaming: "busy", shadowing: "busy", ramping: "busy", fencing: "alert", draining: "alert",
  catching_up: "alert", verifying: "alert", soaking: "good", retired: "good", reverting: "alert", reverted: "quiet",
};

const GATES = {
  errors: "Errors", latency_p50: "Latency p50", latency_p90: "Latency p90", latency_p95: "Latency p95", latency_p99: "Latency p99",
  shadow: "Shadow", lag: "Lag", parity: "Parity",
};
const SIGNS = { pass: "✓", fail: "✕", inconclusive: "…", error: "!" };

export const words = (text) => String(text).replaceAll("_", " ");
export const gateName = (gate) => GATES[gate] ?? words(gate);
export const percent = (millionths) => `${+(millionths / 10_000).toFixed(2)} %`;
export const number = (value) => Number(value).toLocaleString("en");

/** A sentence whose `commands` look like commands. */
export const coded = (text) => text.split("`").map((part, at) => (at % 2 ? h("code", {}, part) : part));

export const count = (many, what) => `${number(many)} ${what}${many === 1 ? "" : "s"}`;
export const rows = (many) => count(many, "row");

export function phase(name) {
  return h("span", { class: `phase ${TONES[name] ?? "quiet"}` }, words(name));
}

export function verdict({ gate, verdict: word, measured }) {
  return h("span", { class: `verdict ${word}`, title: measured },
    h("span", { "aria-hidden": "true" }, SIGNS[word] ?? "?"), ` ${gateName(gate)}`, h("span", { class: "unseen" }, `: ${word}`));
}

/** A length of time in its two largest units. */
export function lasting(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${+seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const units = [[86_400, "d"], [3_600, "h"], [60, "min"], [1, "s"]];
  const at = units.findIndex(([size]) => seconds >= size);
  const [large, small] = [units[at], units[at + 1]];
  const rest = small ? Math.floor((seconds % large[0]) / small[0]) : 0;
  return `${Math.floor(seconds / large[0])} ${large[1]}${rest ? ` ${rest} ${small[1]}` : ""}`;
}

export const ago = (then, now) => (now - then < 2_000 ? "just now" : `${lasting(Math.floor((now - then) / 1000))} ago`);

export function clock(at) {
  const date = new Date(at);
  return h("time", { datetime: date.toISOString(), title: date.toLocaleString() }, date.toLocaleTimeString("en-GB"));
}

/** How much of its reads modern serves, in millionths. */
export const share = ({ serving }) => (serving.owner === "modern" ? 1_000_000 : serving.reads);

export function stepName(step) {
  const given = step.share === null ? "" : ` ${percent(step.share)}`;
  return { shadow: "Shadow", reads: "Reads", cutover: "Cutover", soak: "Soak" }[step.action] + given;
}
