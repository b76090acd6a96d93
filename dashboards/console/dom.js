// Makes elements, and brings a page up to date without losing focus or selection. Whatever comes from the API becomes a
// text node or an attribute: it is never parsed as markup.

const SVG = "http://www.w3.org/2000/svg";
const DRAWN = new Set(["svg", "g", "path", "line", "rect", "text", "circle", "polyline"]);
const HANDLERS = ["onclick", "onsubmit", "oninput", "onchange", "onpointermove", "onpointerleave"];
/** What people change themselves. */
const THEIRS = new Set(["open", "value", "checked"]);

/** An element: `h("p", { class: "note", onclick: f }, "text", child, [more])`. What is `null` or `false` is left out. */
export function h(tag, attributes = {}, ...children) {
  const element = DRAWN.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element[name] = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Makes the children of `place` look like `children`; elements that stay what they are stay the same ones. */
export function show(place, ...children) {
  patchChildren(place, children.flat(Infinity).filter((child) => child));
}

function patchChildren(place, wanted) {
  const present = [...place.childNodes];
  wanted.forEach((node, at) => {
    const next = typeof node === "string" ? document.createTextNode(node) : node;
    if (!present[at]) place.append(next);
    else patch(present[at], next);
  });
  present.slice(wanted.length).forEach((node) => node.remove());
}

function patch(from, to) {
  const other = from.nodeName !== to.nodeName || from.id !== to.id || from.dataset?.key !== to.dataset?.key;
  if (other) {
    from.replaceWith(to);
    return;
  }
  if (from.nodeType === Node.TEXT_NODE) {
    if (from.data !== to.data) from.data = to.data;
    return;
  }
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !THEIRS.has(name)) from.removeAttribute(name);
  }
  for (const { name, value } of [...to.attributes]) {
    if (from.getAttribute(name) !== value && !THEIRS.has(name)) from.setAttribute(name, value);
  }
  for (const handler of HANDLERS) {
    if (from[handler] !== to[handler]) from[handler] = to[handler];
  }
  patchChildren(from, [...to.childNodes]);
}

/** Tells people and screen readers what has happened. */
export function say(text, bad = false) {
  const place = byId("said");
  place.className = bad ? "said bad" : "said";
  place.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { place.textContent = ""; }, 8000);
}
