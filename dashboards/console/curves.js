// Curves over the last ten minutes, drawn as SVG from what the API gives. What they show is said in words, too.

import { h } from "./dom.js";
import { lasting } from "./words.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [420, 150, 56, 20, 8];

const perSecond = (value) => `${+value.toFixed(value < 10 ? 1 : 0)}/s`;
const millis = (value) => lasting(value / 1000);

/** All curves of a capability. */
export function curves(points) {
  if (!points || points.length < 2) return h("p", { class: "note" }, "The curves begin as soon as two looks at the traffic lie apart.");
  const each = (name, read) => ({ name, values: points.map(read) });
  const rate = (side) => (point) => point[side].requests / point.seconds;
  const errors = (side) => (point) => point[side].errors / point.seconds;
  const compared = ({ shadow, seconds }) => (shadow.same + shadow.different) / seconds;
  return h("div", { class: "curves" },
    chart(points, "Requests", perSecond, [each("legacy", rate("legacy")), each("modern", rate("modern"))]),
    chart(points, "Errors", perSecond, [each("legacy", errors("legacy")), each("modern", errors("modern"))]),
    chart(points, "Latency p99", millis, [each("legacy", (point) => point.legacy.p99_ms), each("modern", (point) => point.modern.p99_ms)]),
    chart(points, "Shadow", perSecond, [each("compared", compared), each("different", ({ shadow, seconds }) => shadow.different / seconds)]),
    chart(points, "Lag", lasting, [each("lag", (point) => point.lag_seconds)]));
}

function chart(points, title, unit, series) {
  const seen = series.flatMap(({ values }) => values).filter((value) => value !== null);
  const top = nice(Math.max(...seen, 0));
  const [first, last] = [points[0].at, points.at(-1).at];
  const x = (at) => LEFT + ((WIDTH - LEFT - 4) * (at - first)) / Math.max(1, last - first);
  const y = (value) => HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - TOP) * value) / top;
  const latest = series.map(({ name, values }) => ({ name, value: values.at(-1) }));
  const written = ({ value }) => (value === null ? "–" : unit(value));
  const spoken = latest.map((one) => `${one.name} ${written(one)}`).join(", ");
  return h("figure", { class: "chart" },
    h("figcaption", {}, h("strong", {}, title),
      latest.map((one) => h("span", { class: `key ${one.name}` }, `${one.name} `, h("b", {}, written(one))))),
    h("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title} now: ${spoken}` },
      [0, 0.5, 1].map((part) => [
        h("line", { class: "grid", x1: LEFT, x2: WIDTH - 4, y1: y(top * part), y2: y(top * part) }),
        h("text", { x: LEFT - 6, y: y(top * part) + 4, "text-anchor": "end" }, part === 0 ? "0" : unit(top * part))]),
      h("text", { x: LEFT, y: HEIGHT - 4 }, `${lasting((last - first) / 1000)} ago`),
      h("text", { x: WIDTH - 4, y: HEIGHT - 4, "text-anchor": "end" }, "now"),
      series.map(({ name, values }) => h("path", { class: `line ${name}`, d: path(points, values, x, y) }))));
}

/** A line that is broken where nothing was measured. */
function path(points, values, x, y) {
  let drawing = false;
  return values.map((value, at) => {
    if (value === null) {
      drawing = false;
      return "";
    }
    const command = `${drawing ? "L" : "M"}${x(points[at].at).toFixed(1)} ${y(value).toFixed(1)}`;
    drawing = true;
    return command;
  }).join("") || "M0 0";
}

/** The next round number above. */
function nice(value) {
  if (!(value > 0)) return 1;
  const size = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * size).find((step) => step >= value);
}
