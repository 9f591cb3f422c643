// Alerts that are held back from those outside: which, by whom, until when; to hold back more, or to end it.

import { may, once, request } from "./api.js";
import { clock, h, icon } from "./dom.js";
import { notice } from "./notice.js";

const LOOK_MS = 5000;

const section = document.getElementById("mutes");
const list = section.querySelector("ul");
const dialog = document.getElementById("mute");
const form = dialog.querySelector("form");
const said = form.querySelector(".fault");
let told = null;

const windowed = (mute) => mute.kind === "maintenance";

/** "alerts of cam-3, cap, critical only" */
function place(mute) {
  const parts = [mute.camera ?? `line ${mute.line}`, mute.product, mute.severity && `${mute.severity} only`];
  return parts.filter(Boolean).join(", ");
}

async function look() {
  let items;
  try {
    ({ items } = await request("GET", "/v1/mutes"));
  } catch {
    return; // the feed says when the server or the broker is away
  }
  const text = JSON.stringify(items);
  if (text === told) return;
  told = text;
  section.hidden = items.length === 0;
  list.replaceChildren(...items.map(row));
}

function row(mute) {
  const begins = Date.parse(mute.starts_at) > Date.now() ? `from ${clock(mute.starts_at)} ` : "";
  const needed = windowed(mute) ? "engineer" : "operator";
  const path = `/v1/${windowed(mute) ? "maintenance-windows" : "mutes"}/${mute.mute_id}`;
  const end = async (event) => {
    event.target.disabled = true;
    try {
      await request("DELETE", path);
      notice(`Alerts of ${place(mute)} are sent out again.`);
    } catch (fault) {
      notice(fault.message, "bad");
    }
    look();
  };
  return h(
    "li",
    { class: "row apart" },
    h(
      "span",
      {},
      icon("mute"),
      " ",
      h("strong", {}, place(mute)),
      ` ${begins}until ${clock(mute.ends_at)}, ${windowed(mute) ? "maintenance" : "muted"} by ${mute.actor}`,
      mute.comment ? h("span", { class: "muted" }, ` · ${mute.comment}`) : null,
    ),
    may(needed) ? h("button", { type: "button", onclick: end }, "End now") : null,
  );
}

/** Asks what of `alert` (line, camera, product, severity) to hold back, and for how long. */
export function mute(alert) {
  const places = [
    [`${alert.camera}, ${alert.severity} only`, { camera: alert.camera, severity: alert.severity }],
    [`${alert.camera}, ${alert.product}`, { camera: alert.camera, product: alert.product }],
    [`${alert.camera}, everything`, { camera: alert.camera }],
    [`line ${alert.line}, everything`, { line: alert.line }],
  ];
  form.reset();
  form.elements.place.replaceChildren(...places.map(([name], index) => h("option", { value: index }, name)));
  said.textContent = "";
  const sender = form.querySelector('button[value="send"]');
  const key = once();
  sender.disabled = false;
  form.onsubmit = async (event) => {
    event.preventDefault();
    said.textContent = "";
    const comment = form.elements.comment.value.trim();
    const [, where] = places[form.elements.place.value];
    const json = { ...where, minutes: Number(form.elements.minutes.value), ...(comment && { comment }) };
    sender.disabled = true;
    try {
      const made = await request("POST", "/v1/mutes", { json, headers: { "Idempotency-Key": key } });
      dialog.close();
      notice(`Alerts of ${place(made)} are not sent out until ${clock(made.ends_at)}.`);
      look();
    } catch (fault) {
      said.textContent = fault.message;
    } finally {
      sender.disabled = false;
    }
  };
  dialog.showModal();
  form.elements.place.focus();
}

look();
setInterval(look, LOOK_MS);
