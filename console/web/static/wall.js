// The wall. The server says twice a second what changed; pictures come in one answer every two seconds. What is not
// on the screen is not drawn, and everything is written in animation frames, a few milliseconds at a time.

import { bytes, request } from "./api.js";
import { clock, h, icon, number, say, span } from "./dom.js";
import { lay, paint } from "./heat.js";
import { follow } from "./live.js";
import { banner } from "./notice.js";

const PICTURES_MS = 2000;
const FRAME_BUDGET_MS = 6;
const LATE_SECONDS = 3;
const FORGOTTEN_DAYS = 7;

const list = document.getElementById("tiles");
const nothing = document.getElementById("nothing");
const counts = document.getElementById("counts");
const line = document.getElementById("line");
const opacity = document.getElementById("opacity");
const troubled = document.getElementById("troubled");

const tiles = new Map();
const alerts = new Map();
const answers = new Map();
let ahead = 0; // of the server's clock before ours, in seconds
let dead = null; // since when the stream is, in ms
let faults = {};

const now = () => Date.now() / 1000 + ahead;

class Tile {
  constructor(camera) {
    this.camera = camera;
    this.row = null;
    this.last = null; // when the tables last heard of it, where the stream has not
    this.bitmap = null;
    this.heat = null;
    this.pictured = null;
    this.pictureVerdict = null;
    this.visible = true;
    this.changed = true;
    this.unpainted = false;
    this.canvas = h("canvas", { width: 320, height: 240, "aria-hidden": "true" });
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.badge = h("span", { class: "verdict" });
    this.shown = null;
    this.alert = h("span", { class: "severity", hidden: true });
    this.shownAlert = null;
    this.bar = h("span", { class: "bar-fill" });
    this.rate = h("span", { class: "number" });
    this.health = h("p", { class: "health", hidden: true });
    this.age = h("span", { class: "age" });
    this.link = h(
      "a",
      { class: "tile", href: `/alerts?camera=${encodeURIComponent(camera)}` },
      h("span", { class: "picture" }, this.canvas, this.health, this.age, this.alert),
      h("span", { class: "name" }, camera),
      h("span", { class: "facts" }, this.badge, this.rate),
      h("span", { class: "bar" }, this.bar, h("span", { class: "bar-mark" })),
    );
    this.element = h("li", { data: { camera } }, this.link);
    watcher.observe(this.element);
    this.element.tile = this;
  }

  /** Seconds since it was last heard, and whether that is too long. */
  silence() {
    const heard = this.row?.heard ?? this.last;
    if (heard === null || heard === undefined) return { seconds: Infinity, silent: true, since: null };
    const seconds = now() - heard;
    return { seconds, silent: seconds > (this.row?.heard ? this.row.patience : 5), since: heard };
  }

  state() {
    if (this.silence().silent) return "silent";
    return this.row?.worst ?? "ok";
  }

  urgency() {
    const incident = this.incident();
    const open = incident ? (incident.severity === "critical" ? 2 : 1) : 0;
    return { silent: 3, defect: 2, review: 1, ok: 0 }[this.state()] + 10 * open;
  }

  incident() {
    let found = null;
    for (const alert of alerts.values()) {
      if (alert.camera === this.camera && (!found || alert.severity === "critical")) found = alert;
    }
    return found;
  }

  write() {
    this.changed = false;
    const state = this.state();
    if (state !== this.shown) {
      this.badge.className = `verdict ${state}`;
      this.badge.replaceChildren(icon(state), state);
      this.link.dataset.state = state;
      this.shown = state;
    }
    const incident = this.incident();
    const told = incident ? `${incident.alert_id} ${incident.severity} ${answers.has(incident.alert_id)}` : null;
    if (told !== this.shownAlert) {
      this.shownAlert = told;
      this.alert.hidden = !incident;
      this.link.href = incident ? `/alerts/${incident.alert_id}` : `/alerts?camera=${encodeURIComponent(this.camera)}`;
      if (incident) {
        this.alert.className = `severity ${incident.severity}`;
        this.alert.replaceChildren(icon(incident.severity), answers.has(incident.alert_id) ? "seen" : "alert");
      }
    }
    const row = this.row;
    say(this.rate, state !== "silent" && row?.rate ? `${row.rate.toFixed(1)} /s` : "– /s");
    const share = row && row.threshold > 0 ? Math.min(1, row.score / row.threshold / 2) : 0;
    this.bar.style.transform = `scaleX(${share.toFixed(3)})`;
    this.writeHealth();
  }

  writeHealth() {
    const { silent, seconds, since } = this.silence();
    let text = "";
    if (dead !== null) text = "";
    else if (silent) text = this.why(since, seconds);
    else if (this.row?.late > LATE_SECONDS) text = `Verdicts come ${span(this.row.late)} late`;
    this.health.hidden = !text;
    say(this.health, text);
    const age = this.pictured === null ? null : now() - this.pictured;
    say(this.age, age === null ? "no picture yet" : age > 10 ? `picture ${span(age)} old` : "");
  }

  why(since, seconds) {
    const row = this.row;
    const when = since === null ? "" : ` since ${clock(since * 1000)} (${span(seconds)})`;
    const spoke = row?.event_at && now() - row.event_at < 30;
    if (row?.event === "disconnected") return `Disconnected${when}`;
    if (row?.event === "stopped") return `Stopped${when}`;
    if (spoke && row.event === "heartbeat") return `Sends frames, but no verdict${when}`;
    return since === null ? "Never heard" : `Silent${when}`;
  }

  /** Whether it drew: what is out of sight waits. */
  draw() {
    if (!this.visible || !this.unpainted) return false;
    this.unpainted = false;
    if (this.bitmap) {
      const { width, height } = this.bitmap;
      if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
      this.context.drawImage(this.bitmap, 0, 0);
      const share = opacity.value / 100;
      if (this.heat && share > 0) lay(this.context, this.heat, share);
    }
    return true;
  }
}

const watcher = new IntersectionObserver(
  (seen) => {
    for (const entry of seen) entry.target.tile.visible = entry.isIntersecting;
    schedule();
  },
  { rootMargin: "100px" },
);

function tile(camera, where) {
  let found = tiles.get(camera);
  if (!found) {
    found = new Tile(camera);
    tiles.set(camera, found);
    nothing.hidden = true;
    arrange();
  }
  if (where && found.line !== where) {
    found.line = where;
    if (![...line.options].some((option) => option.value === where)) {
      line.append(h("option", { value: where }, where));
    }
    filter(found);
  }
  return found;
}

const filter = (one) => {
  one.element.hidden = line.value !== "" && one.line !== line.value;
};

let arranging = false;
function arrange() {
  if (arranging) return;
  arranging = true;
  requestAnimationFrame(() => {
    arranging = false;
    const byName = (a, b) => a.camera.localeCompare(b.camera, undefined, { numeric: true });
    const sorted = [...tiles.values()];
    const urgency = new Map(sorted.map((one) => [one, troubled.ariaPressed === "true" ? one.urgency() : 0]));
    sorted.sort((a, b) => urgency.get(b) - urgency.get(a) || byName(a, b));
    sorted.forEach((one, place) => {
      // only what stands elsewhere is moved, so that focus and scrolling stay
      if (list.children[place] !== one.element) list.insertBefore(one.element, list.children[place] ?? null);
    });
  });
}

let scheduled = false;
function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    const begun = performance.now();
    for (const one of tiles.values()) {
      if (performance.now() - begun > FRAME_BUDGET_MS) {
        schedule();
        return;
      }
      if (one.changed && one.visible) one.write();
      one.draw();
    }
  });
}

function count() {
  const all = [...tiles.values()];
  const silent = all.filter((one) => one.silence().silent).length;
  const rate = all.reduce((sum, one) => sum + (one.silence().silent ? 0 : (one.row?.rate ?? 0)), 0);
  const open = [...alerts.values()].filter((alert) => !answers.has(alert.alert_id)).length;
  const parts = [`${all.length} cameras`, `${number.format(Math.round(rate))} frames/s`];
  if (silent) parts.push(`${silent} silent`);
  parts.push(open === 1 ? "1 alert waits" : `${open} alerts wait`);
  say(counts, all.length ? parts.join(" · ") : "");
}

function tellHealth() {
  if (dead !== null) banner("wall", `The connection to the server is broken since ${clock(dead)}. What you see is of then.`);
  else if (faults.cameras) banner("wall", `Verdicts do not arrive: ${faults.cameras}`);
  else if (faults.pictures) banner("wall", `Pictures do not arrive: ${faults.pictures}`);
  else banner("wall", null);
  document.body.classList.toggle("stale", dead !== null || Boolean(faults.cameras));
}

follow(
  "/console/live?cameras=true",
  {
    cameras(told) {
      ahead = told.now - Date.now() / 1000;
      for (const row of told.items) {
        const one = tile(row.camera, row.line);
        one.row = row;
        one.changed = true;
      }
      schedule();
    },
    alerts(told) {
      for (const alert of told) {
        if (alert.state === "closed") alerts.delete(alert.alert_id);
        else alerts.set(alert.alert_id, alert);
        const one = tiles.get(alert.camera);
        if (one) one.changed = true;
      }
      schedule();
    },
    actions(told) {
      for (const action of told) if (action.kind !== "comment") answers.set(action.alert_id, action);
      for (const one of tiles.values()) one.changed = true;
      schedule();
    },
    beat(told) {
      ahead = told.now - Date.now() / 1000;
      faults = told.faults;
      tellHealth();
    },
  },
  (since) => {
    dead = since;
    tellHealth();
  },
);

setInterval(() => {
  for (const one of tiles.values()) one.changed = true;
  schedule();
  count();
  if (troubled.ariaPressed === "true") arrange();
}, 1000);

let version = 0;
async function fetchPictures() {
  if (document.visibilityState === "hidden") return;
  const body = await bytes(`/console/pictures?since=${version}`);
  const size = new DataView(body).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(body, 4, size)));
  version = header.version;
  let at = 4 + size;
  for (const item of header.items) {
    const jpeg = new Blob([new Uint8Array(body, at, item.size)], { type: "image/jpeg" });
    at += item.size;
    const one = tiles.get(item.camera);
    if (!one) continue;
    const bitmap = await createImageBitmap(jpeg).catch(() => null);
    if (!bitmap) continue;
    one.bitmap?.close();
    one.bitmap = bitmap;
    one.pictured = item.captured;
    one.heat = item.heat && one.row ? paint(item.heat, one.row.threshold) : null;
    one.unpainted = one.changed = true;
    schedule();
  }
}

async function keepPictures() {
  const begun = Date.now();
  try {
    await fetchPictures();
  } catch {
    // the stream tells what is wrong; pictures are asked for again
  }
  setTimeout(keepPictures, Math.max(200, PICTURES_MS - (Date.now() - begun)));
}
keepPictures();

async function fetchKnown() {
  try {
    const { items } = await request("GET", "/v1/cameras");
    for (const known of items) {
      const last = Math.max(Date.parse(known.last_frame_at ?? 0), Date.parse(known.last_event_at ?? 0)) / 1000;
      if (now() - last > FORGOTTEN_DAYS * 86400) continue;
      tile(known.camera, known.line).last ??= last;
    }
    schedule();
  } catch {
    // without tables the wall shows the cameras that send
  }
}
fetchKnown();

opacity.addEventListener("input", () => {
  for (const one of tiles.values()) one.unpainted = true;
  schedule();
});
troubled.addEventListener("click", () => {
  troubled.ariaPressed = String(troubled.ariaPressed !== "true");
  arrange();
});
line.addEventListener("change", () => tiles.forEach(filter));
