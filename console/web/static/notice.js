// Sentences that pass by, and banners that stay while something is wrong.

import { h, icon } from "./dom.js";

const area = document.getElementById("notices");
const SECONDS = { good: 4, bad: 12 };

/** Says `text` for some seconds; `kind` is "good" or "bad". */
export function notice(text, kind = "good") {
  for (const old of [...area.children].slice(0, -2)) old.remove();
  const shown = h("p", { class: `notice ${kind}` }, icon(kind === "good" ? "ok" : "warning"), h("span", {}, text));
  const close = h("button", { type: "button", class: "quiet", onclick: () => shown.remove() }, "Close");
  shown.append(close);
  area.append(shown);
  setTimeout(() => shown.remove(), SECONDS[kind] * 1000);
}

const banners = new Map();

/** Shows `text` above the page until it is called with null; one banner a `name`. */
export function banner(name, text, kind = "bad") {
  const old = banners.get(name);
  if (old?.text === text) return;
  old?.element.remove();
  banners.delete(name);
  if (text === null) return;
  const element = h("p", { class: `banner ${kind}`, role: "alert" }, icon("warning"), h("span", {}, text));
  document.getElementById("main").before(element);
  banners.set(name, { text, element });
}
