// What operators do about an alert: one touch for what needs no words, a dialog for what does. A request that failed is
// sent again under the same key, so that it counts once however often a button was pressed.

import { may, once, request } from "./api.js";
import { h } from "./dom.js";
import { notice } from "./notice.js";

const DONE = {
  acknowledge: "acknowledged",
  confirm: "confirmed as a defect",
  "false-alarm": "marked as a false alarm",
  comment: "commented",
};

/** "acknowledged", and so on. */
export const done = (kind) => DONE[kind] ?? kind;

const keys = new Map();
const running = new Set();

/** Sends an action; the event when it counts, null while the same one is under way. Throws Fault. */
export async function act(alertId, body) {
  const what = JSON.stringify([alertId, body]);
  if (running.has(what)) return null;
  running.add(what);
  if (!keys.has(what)) keys.set(what, once());
  try {
    const headers = { "Idempotency-Key": keys.get(what) };
    const action = await request("POST", `/v1/alerts/${alertId}/actions`, { json: body, headers });
    keys.delete(what);
    return action;
  } catch (fault) {
    // refused for good: the next try is another action
    if (fault.status >= 400 && fault.status < 500) keys.delete(what);
    throw fault;
  } finally {
    running.delete(what);
  }
}

/** Does `kind` to `alert` (alert_id, camera), with a dialog where words are needed; `then` is told of the action. */
export function answer(alert, kind, then) {
  if (!may("operator")) {
    notice("Your role is viewer: operators answer alerts. Ask an admin.", "bad");
  } else if (kind === "acknowledge" || kind === "false-alarm") {
    send(alert, { kind }, then).catch((fault) => notice(fault.message, "bad"));
  } else {
    open(document.getElementById(kind), alert, kind, then);
  }
}

async function send(alert, body, then) {
  const action = await act(alert.alert_id, body);
  if (!action) return;
  notice(`${alert.camera}: ${done(body.kind)}.`);
  then?.(action);
}

let typing = null; // the alert that the words in the dialogs are about

function open(dialog, alert, kind, then) {
  const form = dialog.querySelector("form");
  const said = form.querySelector(".fault");
  // words about another alert go; words that were not sent stay
  if (typing !== alert.alert_id) document.querySelectorAll("dialog form").forEach((other) => other.reset());
  typing = alert.alert_id;
  said.textContent = "";
  form.querySelector(".about").textContent = `Alert of ${alert.camera}, ${alert.product}`;
  if (kind === "confirm") suggest(form);
  const sender = form.querySelector('button[value="send"]');
  sender.disabled = false;
  form.onsubmit = async (event) => {
    event.preventDefault();
    said.textContent = "";
    const body = { kind };
    const comment = form.elements.comment.value.trim();
    const type = form.elements.defect_type?.value.trim();
    if (comment) body.comment = comment;
    if (type) body.defect_type = type;
    if (kind === "comment" && !comment) {
      said.textContent = "A comment needs some words.";
      return;
    }
    if (type && !/^[\p{L}\p{N}_.+-]+( [\p{L}\p{N}_.+-]+)*$/u.test(type)) {
      said.textContent = "A type is made of letters, digits, single spaces and . + - _ only.";
      return;
    }
    sender.disabled = true;
    try {
      await send(alert, body, then);
      form.reset();
      dialog.close();
    } catch (fault) {
      said.textContent = fault.message;
    } finally {
      sender.disabled = false;
    }
  };
  dialog.showModal();
  (form.elements.defect_type ?? form.elements.comment).focus();
}

let types = null;

async function suggest(form) {
  try {
    types = await request("GET", "/console/defect-types");
  } catch {
    types ??= []; // a type can be typed all the same
  }
  form.querySelector("datalist").replaceChildren(...types.map((type) => h("option", { value: type })));
  const choose = (type) => () => {
    form.elements.defect_type.value = type;
  };
  form
    .querySelector(".chips")
    .replaceChildren(...types.slice(0, 8).map((type) => h("button", { type: "button", onclick: choose(type) }, type)));
}

for (const dialog of document.querySelectorAll("dialog")) {
  dialog.querySelector("[data-close]")?.addEventListener("click", () => dialog.close());
}

/** Keys that do something unless words are being typed or a dialog is open: `{a: f}`; `?` shows them. */
export function shortcuts(actions) {
  const help = document.getElementById("keys");
  document.getElementById("help").addEventListener("click", () => help.showModal());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.matches('input:not([type="range"]):not([type="checkbox"]), textarea, select')) return;
    const action = event.key === "?" ? () => help.showModal() : actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
