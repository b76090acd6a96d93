// What differs, what is set aside, and what happened: lists of one capability or of all.

import { h } from "./dom.js";
import { ago, clock, coded, number, rows, words } from "./words.js";

export const title = () => "Journal";

/** The page with everything that happened. */
export function render({ journal }) {
  return [
    h("div", { class: "head" }, h("div", {}, h("h1", { tabindex: "-1" }, "Journal"), h("p", { class: "lead" }, "What happened, newest first; the last hundred lines."))),
    h("section", { class: "panel", "aria-label": "Entries" }, entries(journal, true)),
  ];
}

/** Lines of the journal, newest first. */
export function entries(journal, named) {
  if (!journal) return h("p", { class: "note" }, "Loading…");
  if (!journal.length) return h("p", { class: "note" }, "Nothing has happened yet.");
  return h("ol", { class: "journal" }, journal.toReversed().map((entry) => h("li", { "data-key": entry.id },
    clock(entry.at), h("span", { class: "kind" }, words(entry.kind)),
    h("span", { class: "text" }, named && entry.capability && h("a", { href: `#/capability/${encodeURIComponent(entry.capability)}` }, entry.capability),
      named && entry.capability && " ", coded(entry.text), entry.detail?.reason && !entry.text.includes(entry.detail.reason) && h("em", {}, ` ${entry.detail.reason}`)), entry.by && h("span", { class: "by" }, entry.by))));
}

/** Answers that differed, side by side. */
export function differences(samples) {
  if (!samples) return h("p", { class: "note" }, "Loading…");
  if (!samples.length) return h("p", { class: "note" }, "No difference was seen.");
  return h("ul", { class: "samples" }, samples.toReversed().slice(0, 20).map((sample, at) => h("li", { "data-key": `${sample.at} ${sample.path} ${at}` },
    h("p", { class: "request" }, h("b", {}, sample.method), " ", h("code", {}, sample.path), " ", clock(sample.at)),
    h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": `Differences of ${sample.path}` }, h("table", { class: "diff" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Field"), h("th", { scope: "col" }, `Legacy ${sample.legacy_status}`), h("th", { scope: "col" }, `Modern ${sample.modern_status}`))),
      h("tbody", {}, sample.differences.map(({ path, legacy, modern }) => {
        const [left, right] = marked(legacy, modern);
        return h("tr", {}, h("th", { scope: "row" }, h("code", {}, path)), h("td", { class: "legacy" }, left), h("td", { class: "modern" }, right));
      })))))));
}

/** Two texts with what differs between them marked. */
function marked(a, b) {
  let before = 0;
  while (before < Math.min(a.length, b.length) && a[before] === b[before]) before += 1;
  let after = 0;
  while (after < Math.min(a.length, b.length) - before && a.at(-1 - after) === b.at(-1 - after)) after += 1;
  return [a, b].map((text) => h("code", {}, text.slice(0, before),
    h("mark", {}, text.slice(before, text.length - after) || "∅"), after ? text.slice(-after) : null));
}

/** The last comparison of both databases, table by table. */
export function tables(detail, one, now) {
  const verified = one.agent?.verified?.tables ?? [];
  const of = (table) => verified.find(({ legacy, modern }) => legacy === table.legacy && modern === table.modern);
  if (!detail.tables.length) return h("p", { class: "note" }, "It has no tables: only requests move.");
  const samples = verified.flatMap((table) => table.samples.map((row) => `${table.legacy}: ${row}`));
  return [
    one.verified_at && h("p", { class: "note" }, `Compared ${ago(one.verified_at, now)}${one.verifying ? "; a comparison is under way" : ""}.`),
    h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Tables" }, h("table", {},
      h("thead", {}, h("tr", {}, ["Legacy", "Modern", "Columns", "Rows compared", "Drift"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, detail.tables.map((table) => h("tr", {},
        h("th", { scope: "row" }, h("code", {}, table.legacy)), h("td", {}, h("code", {}, table.modern)),
        h("td", {}, `${table.spelled_out} spelled out${table.same_names_follow ? ", the rest by name" : ""}`),
        h("td", {}, of(table) ? `${number(of(table).legacy_rows)} / ${number(of(table).modern_rows)}` : "–"),
        h("td", { class: of(table)?.drift_rows ? "bad" : "" }, of(table) ? number(of(table).drift_rows) : "–")))))),
    samples.length > 0 && h("div", {}, h("h3", {}, "Rows that differ"), h("ul", { class: "rows" }, samples.map((row) => h("li", {}, h("code", {}, row))))),
  ];
}

/** Rows that could not be applied, with both images; `kept` has them for who may see values, or why it has not. */
export function quarantine(one, kept) {
  if (!one.quarantined) return h("p", { class: "note" }, "No row is set aside.");
  return [
    h("p", { class: "trouble" }, `${rows(one.quarantined)} could not be applied, and set aside: no cutover or revert begins until the cause is removed and they are repaired.`),
    h("p", {}, coded("What to do: remove the cause, then repair the rows. A value without a counterpart is added to the column's `map` in the rule file; " +
      "a constraint that refuses is relaxed, or the row corrected where it is owned. The next change of a row tries it again, too.")),
    !kept ? h("p", { class: "note" }, "Loading…") : kept.refused ? h("p", { class: "note" }, coded(`The rows are not shown: ${kept.refused}.`)) : asides(kept, one.quarantined),
  ];
}

function asides({ rows: kept }, total) {
  return [
    kept.length < total && h("p", { class: "note" }, `The newest ${number(kept.length)} of ${number(total)}; all of them are in the target's database.`),
    h("ul", { class: "samples" }, kept.map((row) => h("li", { "data-key": `${row.from} ${row.legacy} ${row.key}` },
      h("p", { class: "request" }, h("b", {}, row.from === "legacy" ? row.legacy : row.modern), " ", h("code", {}, row.key), ` from ${row.from} to ${row.from === "legacy" ? "modern" : "legacy"} `, clock(row.at)),
      h("p", {}, coded(row.reason), row.cut && ". Long values are cut."), images(row)))),
  ];
}

/** What was to be written beside what is there, column by column. */
function images({ legacy, key, wanted, there, cut }) {
  if (!wanted && !there) return h("p", { class: "note" }, cut ? "Its images are too large to be shown." : "It was to be removed, and is not there.");
  const columns = [...new Set([...Object.keys(wanted ?? {}), ...Object.keys(there ?? {})])];
  // A row whose values have no counterpart stands there as its source has it: a column of the same name is another one.
  const alike = wanted && there && columns.every((column) => column in wanted && column in there);
  const written = (image, column) => (image && column in image ? cell(image[column]) : "–");
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": `Images of ${legacy} ${key}` }, h("table", { class: "diff" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Column"), h("th", { scope: "col" }, wanted ? "To be written" : cut ? "Too large to be shown" : "To be removed"), h("th", { scope: "col" }, there ? "There instead" : "Not there"))),
    h("tbody", {}, columns.map((column) => {
      const [left, right] = [written(wanted, column), written(there, column)];
      const [one, other] = alike && left !== right ? marked(left, right) : [h("code", {}, left), h("code", {}, right)];
      return h("tr", {}, h("th", { scope: "row" }, h("code", {}, column)), h("td", { class: "wanted" }, one), h("td", { class: "there" }, other));
    }))));
}

/** A value of a row. */
function cell(value) {
  if (value === null) return "NULL";
  return typeof value === "object" ? `0x${value.hex}` : String(value);
}

/** One direction's stream in words. */
export function stream(report) {
  if (!report?.live) return "does not run";
  return `${rows(report.rows)}, ${number(report.lag_entries)} behind`;
}
