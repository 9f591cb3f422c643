// The threshold as a line that can be dragged: the server counts again whenever it comes to rest.

import { request } from "./api.js";
import { number, say } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const explorer = document.getElementById("explorer");

if (explorer) {
  const { low, high, left, right, top, bottom, used } = Object.fromEntries(
    Object.entries(explorer.dataset).map(([name, value]) => [name, Number(value)]),
  );
  const plot = document.getElementById("scores");
  const slide = document.getElementById("slide");
  const effects = document.getElementById("effects");
  const form = document.getElementById("ask");
  const across = (value) => left + ((right - left) * (value - low)) / (high - low);

  const make = (name, attributes) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    plot.append(element);
    return element;
  };
  make("line", { class: "line-used", x1: across(used), x2: across(used), y1: top, y2: bottom });
  const line = make("line", { class: "line-now", y1: top, y2: bottom });
  const grip = make("circle", { class: "line-grip", cy: top + 6, r: 7 });
  const words = make("text", { class: "line-text", y: top + 10 });

  const place = (value) => {
    const x = across(value);
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    grip.setAttribute("cx", x);
    const after = x < right - 90;
    words.setAttribute("x", after ? x + 13 : x - 13);
    words.setAttribute("text-anchor", after ? "start" : "end");
    words.textContent = value.toPrecision(3);
    say(document.getElementById("value"), value.toPrecision(3));
  };

  let asked = null;
  const ask = async () => {
    asked?.abort();
    asked = new AbortController();
    const value = Number(slide.value).toPrecision(4);
    form.elements.threshold.value = value;
    const fields = new URLSearchParams();
    for (const [name, text] of new FormData(form)) {
      const zoned = (name === "since" || name === "until") && text ? `${text}Z` : text;
      if (zoned) fields.set(name, zoned);
    }
    if (Number(fields.get("review")) > value) fields.delete("review");
    effects.classList.add("asking");
    try {
      const found = await request("GET", `/v1/charts/thresholds?${fields}`, { signal: asked.signal });
      for (const cell of effects.querySelectorAll("[data-is]")) {
        const told = cell.dataset.is.split(".").reduce((part, name) => part[name], found);
        say(cell, told === null ? "cannot be told" : cell.dataset.is === "threshold" ? told.toPrecision(4) : number.format(told));
      }
      say(document.getElementById("fault"), "");
      const address = new URLSearchParams(new FormData(form));
      history.replaceState(null, "", `${location.pathname}?${address}`);
    } catch (fault) {
      if (fault.name !== "AbortError") say(document.getElementById("fault"), fault.message);
    } finally {
      effects.classList.remove("asking");
    }
  };

  const drag = (event) => {
    const box = plot.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * plot.viewBox.baseVal.width;
    const value = low + ((high - low) * (x - left)) / (right - left);
    slide.value = Math.min(high, Math.max(low, value));
    place(Number(slide.value));
  };
  explorer.addEventListener("pointerdown", (event) => {
    explorer.setPointerCapture(event.pointerId);
    drag(event);
  });
  explorer.addEventListener("pointermove", (event) => {
    if (explorer.hasPointerCapture(event.pointerId)) drag(event);
  });
  explorer.addEventListener("pointerup", ask);
  slide.addEventListener("input", () => place(Number(slide.value)));
  slide.addEventListener("change", ask);
  place(Number(slide.value));
}
