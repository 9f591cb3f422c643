// One alert: its frame under the heat map, the frames beside it, and what was done, by whom.

import { answer, done, shortcuts } from "./answer.js";
import { may, request } from "./api.js";
import { clock, h, number, say, severity, span, verdict } from "./dom.js";
import { lay, paint } from "./heat.js";
import { follow } from "./live.js";
import { mute } from "./mutes.js";
import { banner } from "./notice.js";

const RETRY_MS = 3000;
const TRIES = 100;
const DAY_MS = 86_400_000;

const id = document.getElementById("alert").dataset.id;
const at = (name) => document.getElementById(name);
const canvas = at("frame");
const context = canvas.getContext("2d");

let alert = null;
let shown = null; // {near, picture, heat, regions, width, height}
let frames = [];
let chosen = null; // the frame that was asked for last; `shown` follows once it is loaded
let dead = null;
let fault = null;

async function load() {
  try {
    const found = await request("GET", `/v1/alerts/${id}`);
    if (!alert || found.revision >= alert.revision) {
      alert = found;
      writeFacts();
    }
    take(found.actions);
    say(at("fault"), "");
    return true;
  } catch (problem) {
    say(at("fault"), problem.message);
    return false;
  }
}

function writeFacts() {
  at("title").replaceChildren(severity(alert.severity), `${alert.camera} · ${alert.product}`);
  document.title = `${alert.camera} · Sightline`;
  at("answers").hidden = !may("operator");
  const facts = [
    ["State", alert.state === "closed" ? "over" : "open"],
    ["Since", clock(alert.opened_at)],
    [alert.state === "closed" ? "Lasted" : "Last change", alert.state === "closed" ? span((Date.parse(alert.updated_at) - Date.parse(alert.opened_at)) / 1000) : clock(alert.updated_at)],
    ["How often", `${alert.count} defects in ${number.format(alert.last_sequence - alert.first_sequence + 1)} frames`],
    ["Peak", `${alert.peak_score.toFixed(3)}, ${(alert.peak_score / alert.threshold).toFixed(1)} × the threshold of ${alert.threshold.toFixed(3)}`],
    ...(alert.muted_until ? [["Muted", `not sent out until ${clock(alert.muted_until)}`]] : []),
    ["Line", alert.line],
    ["Camera", alert.camera],
    ["Detector", `${alert.detector.name}, version ${alert.detector.version}`],
  ];
  at("facts").replaceChildren(...facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", { class: "number" }, value)]));
  at("answers").querySelector('[data-kind="acknowledge"]').hidden = alert.state === "closed";
}

const actions = new Map();

function take(told) {
  let fresh = false;
  for (const action of told) {
    if (action.alert_id !== id || actions.has(action.action_id)) continue;
    actions.set(action.action_id, action);
    fresh = true;
  }
  if (!fresh) return;
  const sorted = [...actions.values()].sort((a, b) => (a.at < b.at ? 1 : -1));
  at("history").replaceChildren(
    ...sorted.map((action) =>
      h(
        "li",
        {},
        h("p", {}, h("strong", {}, action.actor), ` ${done(action.kind)}${action.defect_type ? `: ${action.defect_type}` : ""}`),
        action.comment ? h("p", { class: "words" }, action.comment) : null,
        h("p", { class: "muted number" }, clock(action.at)),
      ),
    ),
  );
  at("nobody").hidden = true;
}

async function loadFrames(tries = 0) {
  if (!tries) showThumbnail("The frame is being fetched.");
  try {
    const near = await request("GET", `/console/alerts/${id}/frames`);
    frames = near.items;
    const peak = frames.find((frame) => frame.sequence === near.peak);
    if (peak) {
      writeStrip();
      await show(peak);
      return;
    }
    showThumbnail("The frame is not stored yet.");
  } catch (problem) {
    showThumbnail(`The frame cannot be shown: ${problem.message}`);
  }
  if (tries < TRIES) setTimeout(loadFrames, RETRY_MS, tries + 1);
}

const address = (frame, part = "") => `/v1/inspections/${frame.inspection_id}${part}?captured_at=${encodeURIComponent(frame.captured_at)}`;

function writeStrip() {
  at("strip").replaceChildren(
    ...frames.map((frame) =>
      h(
        "li",
        {},
        h(
          "button",
          { type: "button", data: { id: frame.inspection_id }, onclick: () => show(frame) },
          frame.kept ? h("img", { src: address(frame, "/frame"), alt: "", loading: "lazy", width: 120, height: 90 }) : h("span", { class: "absent" }, "not kept"),
          verdict(frame.verdict),
          h("span", { class: "muted number" }, `#${frame.sequence}`),
        ),
      ),
    ),
  );
}

async function show(frame) {
  chosen = frame;
  for (const button of at("strip").querySelectorAll("button")) button.ariaPressed = String(button.dataset.id === frame.inspection_id);
  const [found, picture] = await Promise.allSettled([request("GET", address(frame)), frame.kept ? loadPicture(address(frame, "/frame")) : null]);
  if (chosen !== frame) return;
  if (found.status === "rejected") {
    showThumbnail(`The frame cannot be shown: ${found.reason.message}`);
    return;
  }
  const inspection = found.value;
  const image = picture.status === "fulfilled" ? picture.value : null;
  shown = { frame, image, heat: paint(inspection.heat_map, inspection.threshold), inspection };
  tell(image ? "" : "The pixels of this frame were not kept: the archive has defects, reviews and a sample of the others.");
  canvas.width = inspection.width;
  canvas.height = inspection.height;
  canvas.setAttribute("aria-label", `Frame ${frame.sequence} of ${alert?.camera ?? "the camera"}: ${frame.verdict}, score ${frame.score.toFixed(3)}, ${inspection.regions.length} marked places`);
  draw();
}

async function loadPicture(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

function draw() {
  if (!shown) return;
  context.fillStyle = "#20262c";
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (shown.image) context.drawImage(shown.image, 0, 0, canvas.width, canvas.height);
  if (shown.heat) lay(context, shown.heat, at("opacity").value / 100);
  if (!shown.inspection || !at("boxes").checked) return;
  const thick = Math.max(2, canvas.width / 320);
  for (const box of shown.inspection.regions) {
    for (const [colour, width] of [["#000", thick * 2], ["#fff", thick]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.strokeRect(box.x, box.y, box.width, box.height);
    }
  }
}

async function showThumbnail(why) {
  tell(`${why} This is the picture of the alert.`);
  const before = shown;
  try {
    const image = await loadPicture(`/v1/alerts/${id}/thumbnail`);
    if (shown !== before) return;
    shown = { image, heat: null, inspection: null };
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    canvas.setAttribute("aria-label", "The picture of the alert, small, with its heat map");
    draw();
  } catch {
    if (shown === before) tell(`${why} There is no picture of the alert either.`);
  }
}

function tell(text) {
  say(at("said"), text);
  at("said").hidden = !text;
}

async function loadOthers() {
  if (!alert) return;
  try {
    const since = new Date(Date.parse(alert.opened_at) - DAY_MS).toISOString();
    const page = await request("GET", `/v1/alerts?camera=${encodeURIComponent(alert.camera)}&since=${since}&limit=12`);
    const others = page.items.filter((other) => other.alert_id !== id);
    at("alone").hidden = others.length > 0;
    at("others").replaceChildren(
      ...others.slice(0, 8).map((other) =>
        h("li", {}, h("p", { class: "row" }, severity(other.severity), h("a", { href: `/alerts/${other.alert_id}` }, clock(other.opened_at)), h("span", { class: "muted" }, `${other.count} defects`))),
      ),
    );
  } catch (problem) {
    at("alone").hidden = false;
    say(at("alone"), `Other alerts cannot be shown: ${problem.message}`);
  }
}

follow(
  "/console/live",
  {
    alerts(told) {
      const mine = told.find((one) => one.alert_id === id);
      if (mine && alert && mine.revision > alert.revision) {
        alert = { ...alert, ...mine };
        writeFacts();
      }
    },
    actions: take,
    beat(told) {
      fault = told.faults.alerts;
      tellHealth();
    },
  },
  (since) => {
    dead = since;
    tellHealth();
  },
);

function tellHealth() {
  if (dead !== null) banner("alert", `The connection to the server is broken since ${clock(dead)}. What others do is not shown.`);
  else banner("alert", fault ? `News of this alert do not arrive: ${fault}` : null);
}

const act = (kind) => () => {
  if (alert) answer(alert, kind, (action) => take([action]));
};
for (const button of at("answers").querySelectorAll("[data-kind]")) button.addEventListener("click", act(button.dataset.kind));

at("hush").addEventListener("click", () => {
  if (alert) mute(alert);
});

function step(by) {
  const next = frames[frames.indexOf(chosen) + by];
  if (next) show(next);
}

at("opacity").addEventListener("input", draw);
at("boxes").addEventListener("change", draw);
shortcuts({
  a: act("acknowledge"),
  d: act("confirm"),
  f: act("false-alarm"),
  c: act("comment"),
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  h: () => {
    at("opacity").value = at("opacity").value > 0 ? 0 : 60;
    draw();
  },
});

async function begin() {
  for (let tries = 0; !(await load()) && tries < TRIES; tries++) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  loadFrames();
  loadOthers();
}
begin();
