// What an operator may do with a capability in the phase that it is in. The orchestrator has the last word.

import { ask } from "./api.js";
import { confirm } from "./dialog.js";
import { h } from "./dom.js";

const REASON = { name: "reason", label: "Reason", required: true, hint: "Why: it stands in the journal." };

const WISHES = {
  begin: { wish: "advance", button: "Begin", primary: true, text: "The rows are copied and changes flow both ways. The monolith serves everything until you say otherwise." },
  advance: { wish: "advance", button: "Advance", text: "Skips the rest of this step's hold. Gates that fail keep it where it is." },
  approve: { wish: "approve", button: "Approve the next step", primary: true, text: "The step that waits for approval begins as soon as nothing else is missing. Holds stay." },
  cutover: { wish: "cutover", button: "Cut over", danger: true, text: "Writes are held, those under way finish, the rest of the log is applied, and the new service owns the writes. If it cannot be done in time it is aborted and nothing has changed." },
  abort: { wish: "abort", button: "Abort", danger: true, text: "Stops the switch before its point of no return; the owner stays who it is." },
  revert: { wish: "revert", button: "Revert", danger: true, text: "Gives the capability back to the monolith, with every write made meanwhile." },
  retire: { wish: "retire", button: "Retire", danger: true, text: "Ends the monolith's part in it. There is no way back." },
  verify: { wish: "verify", button: "Compare rows", text: "Compares both databases, row by row." },
  repair: { wish: "repair", button: "Repair rows", danger: true, text: "Writes the owner's rows over what differs on the other side." },
};

const SWITCHING = ["fencing", "draining", "catching_up", "verifying", "reverting"];

/** The wishes that make sense now, by name. */
function offered(one, detail) {
  if (one.phase === "retired") return [];
  const release = one.holds.length > 0 && "release";
  if (one.switch) return ["abort", release].filter(Boolean);
  if (one.phase === "draft") return ["begin", "hold", release].filter(Boolean);
  const approvable = one.waiting_for.some(({ kind, text }) => kind === "wish" && text.includes("`ficus approve`"));
  const tables = detail?.tables.length > 0;
  return [
    approvable && "approve",
    one.phase !== "soaking" && "advance",
    one.owner === "legacy" && !SWITCHING.includes(one.phase) && ["shadowing", "ramping", "streaming", "reverted"].includes(one.phase) && "cutover",
    (one.owner === "modern" || ["shadowing", "ramping"].includes(one.phase)) && "revert",
    one.phase === "soaking" && "retire",
    "hold", release, "pin",
    tables && "verify", tables && one.drift_rows + one.quarantined > 0 && "repair",
  ].filter(Boolean);
}

/** The buttons. */
export function buttons(name, one, detail) {
  return h("div", { class: "actions", role: "group", "aria-label": "Actions" }, offered(one, detail).map((action) => {
    const { button, primary, danger } = WISHES[action] ?? { button: { hold: "Hold", release: "Release", pin: "Pin" }[action] };
    const look = primary ? "primary" : danger ? "danger outline" : "";
    return h("button", { type: "button", id: `do-${action}`, class: look, onclick: () => open(action, name, one) }, button);
  }));
}

function open(action, name, one) {
  if (action === "hold") return hold(name);
  if (action === "release") return release(name, one);
  if (action === "pin") return pin(name);
  const { wish, button, text, danger } = WISHES[action];
  return confirm({ title: `${button}: ${name}`, text, button, danger, fields: [REASON], done: `${name}: ${button.toLowerCase()} is under way`,
    action: ({ by, reason }) => wished(name, wish, { by, reason }) });
}

function hold(name) {
  confirm({ title: `Hold: ${name}`, text: "It goes no step forward until the hold is released. The way back stays open.", button: "Hold",
    fields: [{ ...REASON, hint: "The name of the hold: it is released by it." }], done: `${name} is held`,
    action: ({ by, reason }) => wished(name, "hold", { by, reason }) });
}

function release(name, one) {
  const options = [["", "All of them"], ...one.holds.map((hold) => [hold, hold])];
  confirm({ title: `Release: ${name}`, text: "It may go forward again once nothing else is missing. What waits for approval goes on waiting for it.", button: "Release",
    fields: [{ name: "hold", label: "Hold", kind: "select", options, value: one.holds.length === 1 ? one.holds[0] : "" }, REASON], done: `${name} is released`,
    action: ({ by, reason, hold }) => wished(name, "release", { by, reason, hold }) });
}

export const LASTING = { name: "lasts", label: "For how long", kind: "select", value: "3600", options: [["900", "15 minutes"], ["3600", "1 hour"], ["86400", "1 day"], ["", "Until it is removed"]] };

function pin(name) {
  confirm({ title: `Pin: ${name}`, text: "Sends reads to one side, whatever the step says. Writes stay with their owner.", button: "Pin",
    fields: [{ name: "side", label: "Side", kind: "select", options: [["legacy", "Legacy"], ["modern", "Modern"]], value: "legacy" },
      { name: "user", label: "Only this user's id" }, LASTING, REASON], done: `reads of ${name} are pinned`,
    action: ({ by, reason, side, user, lasts }) => ask("POST", "/pins", { capability: name, side, user: user || null, for_seconds: lasts ? Number(lasts) : null, by, reason }) });
}

/** Takes a pin away. */
export function unpin({ capability, user }) {
  confirm({ title: `Remove the pin: ${capability}`, text: user ? `Reads of user ${user} follow the step again.` : "Reads follow the step again.",
    button: "Remove the pin", fields: [REASON], done: "the pin is removed",
    action: ({ by, reason }) => ask("DELETE", "/pins", { capability, user, by, reason }) });
}

/** Overrides a flag, or lets it follow its file again. */
export function flag(name, to) {
  if (to === null) {
    return confirm({ title: `Clear the override: ${name}`, text: "The flag follows its file again.", button: "Clear", fields: [REASON], done: `${name} follows its file`,
      action: ({ by, reason }) => ask("DELETE", `/flags/${encodeURIComponent(name)}`, { by, reason }) });
  }
  const word = to.variant ?? (to.on ? "on" : "off");
  const button = to.variant === undefined ? `Turn ${word}` : `Give ${word}`;
  return confirm({ title: `${button}: ${name}`, text: `The flag is ${word} for everybody, whatever the file says.`, button, fields: [LASTING, REASON], done: `${name} is ${word}`,
    action: ({ by, reason, lasts }) => ask("PUT", `/flags/${encodeURIComponent(name)}`, { ...to, for_seconds: lasts ? Number(lasts) : null, by, reason }) });
}

/** Reads the rule files now. */
export function reload() {
  confirm({ title: "Read the files again", text: "They are read anyway a moment after they were saved. Files with errors change nothing: the last good ones go on serving.",
    button: "Read them", fields: [REASON], done: "the rule files are read", action: ({ by, reason }) => ask("POST", "/reload", { by, reason }) });
}

const wished = (name, wish, body) => ask("POST", `/capabilities/${encodeURIComponent(name)}/${wish}`, body);
