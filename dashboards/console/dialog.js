// The question before every change: what will happen, why it is wished, and by whom.

import { Refused } from "./api.js";
import { byId, h, say } from "./dom.js";
import { coded } from "./words.js";

const NAME = "ficus-name";

export const operator = {
  get: () => sessionStorage.getItem(NAME) ?? "",
  set: (name) => sessionStorage.setItem(NAME, name),
};

/** A field: `{ name, label, kind: "text" | "select", options, required, value, hint }`. */
function field({ name, label, kind = "text", options = [], required = false, value = "", hint }) {
  const id = `field-${name}`;
  const attributes = { id, name, required, "aria-describedby": hint ? `${id}-hint` : null };
  const input = kind === "select"
    ? h("select", attributes, options.map(([given, text]) => h("option", { value: given, selected: given === value }, text)))
    : h("input", { ...attributes, type: "text", autocomplete: "off", value });
  return h("div", { class: "field" }, h("label", { for: id }, label, !required && kind === "text" ? h("span", { class: "optional" }, " (optional)") : null), input,
    hint ? h("p", { class: "hint", id: `${id}-hint` }, hint) : null);
}

/** Asks, and does `action(values)` if it is confirmed; a refusal is shown and can be mended. */
export function confirm({ title, text, button, danger = false, fields = [], done, action }) {
  const problem = h("p", { class: "problem", role: "alert" });
  const asked = [...fields, { name: "by", label: "Your name", required: true, value: operator.get(), hint: "It stands in the journal." }];
  const go = h("button", { type: "submit", class: danger ? "danger" : "primary" }, button);
  const form = h("form", { novalidate: false, onsubmit: async (event) => {
    event.preventDefault();
    const values = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]));
    operator.set(values.by);
    go.disabled = true;
    problem.textContent = "";
    try {
      await action(values);
      dialog.close();
      say(done);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      problem.replaceChildren(...coded(error.message));
    } finally {
      // A button that is disabled loses the focus: whoever typed Enter goes on from it.
      go.disabled = false;
      if (dialog.open) go.focus();
    }
  } },
    h("h2", { id: "dialog-title" }, title), text ? h("p", { id: "dialog-text" }, text) : null, asked.map(field), problem,
    h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), go));
  const dialog = h("dialog", { "aria-labelledby": "dialog-title", "aria-describedby": text ? "dialog-text" : null }, form);
  dialog.addEventListener("close", () => {
    dialog.remove();
    // What opened it may have gone with what it did.
    if (document.activeElement === document.body) document.querySelector("main h1")?.focus();
  });
  byId("dialogs").append(dialog);
  dialog.showModal();
  form.querySelector("input, select")?.focus();
}
