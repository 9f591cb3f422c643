// The feed: what waits for an answer first, by severity and age. Rows are kept and only changed where they differ.

import { answer, done, shortcuts } from "./answer.js";
import { may, request } from "./api.js";
import { clock, h, icon, say, severity, span } from "./dom.js";
import { follow } from "./live.js";
import { mute } from "./mutes.js";
import { banner } from "./notice.js";
import { sound } from "./sound.js";

const HOLD_MS = 2500;

const camera = document.getElementById("camera");
const soundButton = document.getElementById("sound");
const earlier = document.getElementById("earlier");
const stored = document.getElementById("stored");
const groups = new Map([...document.querySelectorAll("[data-group]")].map((section) => [section.dataset.group, section]));

const rows = new Map();
const answers = new Map();
let ahead = 0;
let dead = null;
let faulty = null;
let begun = false; // whether the alerts that were open when the page came have been told
let touched = 0;

const now = () => Date.now() + ahead;
const closed = (alert) => alert.state === "closed";

class Row {
  constructor(alert) {
    this.alert = null;
    this.told = null;
    this.picture = h("img", { alt: "", width: 128, height: 96, loading: "lazy" });
    this.picture.addEventListener("error", () => this.picture.classList.add("absent"));
    this.badge = h("span");
    this.open = h("a", { class: "open", href: `/alerts/${alert.alert_id}` });
    this.age = h("p", { class: "number" });
    this.facts = h("p", { class: "number" });
    this.answered = h("p", { class: "answered" });
    const button = (kind, name, glyph, more = "") =>
      h("button", { type: "button", class: more, onclick: () => this.act(kind) }, icon(glyph), name);
    this.ack = button("acknowledge", "Acknowledge", "hand", "primary");
    this.element = h(
      "li",
      { class: "alert", data: { id: alert.alert_id } },
      this.picture,
      h("div", { class: "what" }, h("p", { class: "row" }, this.badge, this.open), this.age, this.facts, this.answered),
      may("operator")
        ? h("div", { class: "row do" }, this.ack, button("confirm", "Defect…", "defect"), button("false-alarm", "False alarm", "ok"), button("comment", "Comment…", "comment"), h("button", { type: "button", class: "quiet", onclick: () => mute(this.alert) }, icon("mute"), "Mute…"))
        : null,
    );
    this.element.row = this;
    this.update(alert);
  }

  act(kind) {
    answer(this.alert, kind, (action) => take([action]));
  }

  update(alert) {
    if (this.alert && this.alert.revision >= alert.revision) return;
    this.alert = alert;
    this.write();
  }

  group() {
    const given = answers.get(this.alert.alert_id);
    if (!given) return closed(this.alert) ? "missed" : "waiting";
    return closed(this.alert) || given.kind !== "acknowledge" ? "done" : "tended";
  }

  write() {
    const alert = this.alert;
    const picture = `/v1/alerts/${alert.alert_id}/thumbnail?peak=${alert.peak_sequence}`;
    if (this.picture.getAttribute("src") !== picture) {
      this.picture.classList.remove("absent");
      this.picture.setAttribute("src", picture);
    }
    if (this.told !== alert.severity) {
      this.told = alert.severity;
      this.badge.replaceChildren(severity(alert.severity));
    }
    say(this.open, `${alert.camera} · ${alert.product}`);
    const peak = (alert.peak_score / alert.threshold).toFixed(1);
    say(this.facts, `${alert.count === 1 ? "1 defect" : `${alert.count} defects`}, peak ${peak} × threshold, ${alert.line}`);
    const given = answers.get(alert.alert_id);
    const type = given?.defect_type ? `: ${given.defect_type}` : "";
    say(this.answered, given ? `${done(given.kind)}${type} by ${given.actor}${given.at ? `, ${clock(given.at)}` : ""}` : "");
    this.ack.hidden = closed(alert) || given !== undefined;
    this.tick();
  }

  tick() {
    const { opened_at, updated_at } = this.alert;
    const length = span((Date.parse(updated_at) - Date.parse(opened_at)) / 1000);
    say(
      this.age,
      closed(this.alert)
        ? `over after ${length}, ${clock(opened_at)}`
        : `open for ${span((now() - Date.parse(opened_at)) / 1000)}, since ${clock(opened_at)}`,
    );
  }
}

function before(a, b) {
  const critical = (row) => (row.alert.severity === "critical" ? 0 : 1);
  if (!closed(a.alert) && !closed(b.alert) && critical(a) !== critical(b)) return critical(a) - critical(b);
  const age = Date.parse(a.alert.opened_at) - Date.parse(b.alert.opened_at);
  return closed(a.alert) || closed(b.alert) ? -age : age;
}

let arranging = false;
function arrange() {
  if (arranging) return;
  arranging = true;
  // what is under a finger stays where it is for a moment, so that nobody answers another alert than the one aimed at
  const wait = Math.max(0, touched + HOLD_MS - Date.now());
  setTimeout(() => requestAnimationFrame(place), wait);
}

function place() {
  arranging = false;
  const focused = document.activeElement;
  const found = new Map([...groups.keys()].map((name) => [name, []]));
  for (const row of rows.values()) {
    const shown = camera.value === "" || row.alert.camera === camera.value;
    if (shown) found.get(row.group()).push(row);
    else row.element.remove();
  }
  for (const [name, section] of groups) {
    const list = section.querySelector("ol");
    const sorted = found.get(name).sort(before);
    sorted.forEach((row, at) => {
      if (list.children[at] !== row.element) list.insertBefore(row.element, list.children[at] ?? null);
    });
    while (list.children.length > sorted.length) list.lastChild.remove();
    say(section.querySelector("h2 span"), sorted.length ? `(${sorted.length})` : "");
    const none = section.querySelector(".none");
    if (none) none.hidden = sorted.length > 0;
    else section.hidden = !sorted.length;
  }
  if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
  const waiting = found.get("waiting").length;
  document.title = `${waiting ? `(${waiting}) ` : ""}Alerts · Sightline`;
}

function put(alert) {
  const known = rows.get(alert.alert_id);
  if (known) known.update(alert);
  else rows.set(alert.alert_id, new Row(alert));
  if (![...camera.options].some((option) => option.value === alert.camera)) {
    camera.append(h("option", { value: alert.camera }, alert.camera));
    if (wanted === alert.camera) camera.value = wanted;
  }
}

/** Takes in actions: of those that answer, the last counts. */
function take(actions) {
  for (const action of actions) {
    if (action.kind === "comment") continue;
    const known = answers.get(action.alert_id);
    if (known?.at && known.at > action.at) continue;
    answers.set(action.alert_id, action);
    rows.get(action.alert_id)?.write();
  }
  arrange();
}

const wanted = new URLSearchParams(location.search).get("camera") ?? "";
if (wanted) {
  camera.append(h("option", { value: wanted }, wanted));
  camera.value = wanted;
}
camera.addEventListener("change", arrange);

follow(
  "/console/live",
  {
    alerts(told) {
      for (const alert of told) {
        const fresh = !rows.has(alert.alert_id);
        put(alert);
        if (begun && fresh && !closed(alert) && loud()) sound(alert.severity === "critical");
      }
      begun = true;
      arrange();
    },
    actions: take,
    beat(told) {
      ahead = told.now * 1000 - Date.now();
      faulty = told.faults.alerts ? { text: told.faults.alerts, since: faulty?.since ?? Date.now() } : null;
      tellHealth();
    },
  },
  (since) => {
    dead = since;
    tellHealth();
  },
);

function tellHealth() {
  if (dead !== null) banner("feed", `The connection to the server is broken since ${clock(dead)}. New alerts do not appear; trying again.`);
  else if (faulty) banner("feed", `New alerts do not arrive since ${clock(faulty.since)}: ${faulty.text}`);
  else banner("feed", null);
}

setInterval(() => {
  for (const row of rows.values()) if (row.element.isConnected && !closed(row.alert)) row.tick();
}, 1000);

let cursor = null;
async function load() {
  earlier.disabled = true;
  try {
    const from = cursor ? `&cursor=${encodeURIComponent(cursor)}` : "";
    const page = await request("GET", `/v1/alerts?limit=40${from}`);
    for (const alert of page.items) {
      put(alert);
      if (alert.answer && !answers.has(alert.alert_id)) {
        answers.set(alert.alert_id, { alert_id: alert.alert_id, kind: alert.answer, actor: alert.answered_by });
        rows.get(alert.alert_id).write();
      }
    }
    cursor = page.next;
    earlier.hidden = cursor === null;
    stored.hidden = true;
    arrange();
  } catch (fault) {
    say(stored, `Earlier alerts cannot be shown: ${fault.message}`);
    stored.hidden = earlier.hidden = false;
  }
  earlier.disabled = false;
}
earlier.addEventListener("click", load);
load();

const loud = () => soundButton.ariaPressed === "true";
function setSound(on) {
  soundButton.ariaPressed = String(on);
  soundButton.replaceChildren(icon(on ? "sound" : "mute"), h("span", {}, on ? "Sound is on" : "Sound is off"));
}
soundButton.addEventListener("click", () => {
  setSound(!loud());
  try {
    localStorage.setItem("sound", loud() ? "on" : "off");
  } catch {
    // storage is off: it holds for this page
  }
  if (loud()) sound(false);
});
try {
  setSound(localStorage.getItem("sound") === "on");
} catch {
  setSound(false);
}

const feed = document.getElementById("groups");
feed.addEventListener("pointerdown", () => {
  touched = Date.now();
});
feed.addEventListener("pointermove", () => {
  touched = Date.now();
});

const shown = () => [...feed.querySelectorAll("li.alert")].map((element) => element.row);
const chosen = () => document.activeElement?.closest("li.alert")?.row ?? null;

function step(by) {
  const all = shown();
  if (!all.length) return;
  const at = all.indexOf(chosen());
  const next = all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : at + by))];
  next.open.focus();
  next.element.scrollIntoView({ block: "nearest" });
}

const onChosen = (kind) => () => {
  const row = chosen();
  if (row) row.act(kind);
  else step(0);
};

shortcuts({
  j: () => step(1),
  k: () => step(-1),
  a: onChosen("acknowledge"),
  d: onChosen("confirm"),
  f: onChosen("false-alarm"),
  c: onChosen("comment"),
});
