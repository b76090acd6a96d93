// The rule files: which generation serves, what is wrong with them as they are, and what they say.

import { reload } from "./actions.js";
import { h } from "./dom.js";
import { coded } from "./words.js";

export const title = () => "Rules";

export function render({ status, files }) {
  const { rules } = status;
  return [
    h("div", { class: "head" }, h("div", {}, h("h1", { tabindex: "-1" }, "Rules"), h("p", { class: "lead" }, `Generation ${rules.generation} serves.`)),
      h("div", { class: "actions" }, h("button", { type: "button", id: "reload", onclick: reload }, "Read the files again"))),
    h("section", { class: "panel", "aria-labelledby": "wrong", "aria-live": "polite" }, h("h2", { id: "wrong" }, "Errors and warnings"), complaints(rules)),
    h("section", { class: "panel", "aria-labelledby": "files" }, h("h2", { id: "files" }, "Files that serve"), texts(files, rules.warnings)),
  ];
}

function complaints({ complaints: wrong, warnings }) {
  const all = [...wrong, ...warnings];
  if (!all.length) return h("p", { class: "good" }, "Nothing is wrong.");
  const errors = wrong.some(({ warning }) => !warning);
  return [
    errors && h("p", { class: "banner bad" }, "The files as they are would not be served: the last good ones go on serving."),
    h("ul", { class: "complaints" }, all.map((one) => h("li", { class: one.warning ? "warning" : "error" },
      h("p", {}, h("span", { class: "kind" }, one.warning ? "warning" : "error"), " ", h("code", {}, `${one.file}:${one.line}:${one.column}`)),
      h("p", { class: "text" }, coded(one.message)), one.hint && h("p", { class: "note" }, coded(one.hint))))),
  ];
}

function texts(files, warnings) {
  if (!files) return h("p", { class: "note" }, "Loading…");
  if (!files.length) return h("p", { class: "note" }, "There are none: every request goes to the default upstream.");
  const marked = (name) => new Set(warnings.filter(({ file }) => file === name).map(({ line }) => line));
  return files.map(({ name, text }) => {
    const lines = marked(name);
    return h("details", { "data-key": name }, h("summary", {}, name),
      h("pre", { tabindex: "0", role: "group", "aria-label": name }, text.trimEnd().split("\n").map((line, at) => h("span", { class: lines.has(at + 1) ? "line marked" : "line" }, `${line}\n`))));
  });
}
