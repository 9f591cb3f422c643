// One inspection: its frame, or what is kept of it, under the heat map.

import { bytes, request } from "./api.js";
import { say } from "./dom.js";
import { lay, paint } from "./heat.js";

const at = (name) => document.getElementById(name);
const { href, archived, thumbnail } = at("inspection").dataset;
const canvas = at("frame");
const context = canvas.getContext("2d");

let picture = null;
let heat = null;
let found = null;

async function load() {
  try {
    found = await request("GET", href);
    canvas.width = found.width;
    canvas.height = found.height;
    heat = paint(found.heat_map, found.threshold);
    if (archived) await show("/frame?");
    else tell("The archive has not kept this frame; its heat map is shown alone.");
  } catch (fault) {
    say(at("fault"), fault.message);
  }
  draw();
}

async function show(kind) {
  try {
    picture = await createImageBitmap(new Blob([await bytes(href.replace("?", kind))], { type: "image/jpeg" }));
  } catch {
    if (kind === "/frame?" && thumbnail) {
      tell("The archived frame cannot be shown; this is the small picture with the heat map in it.");
      await show("/thumbnail?");
    } else tell("The picture cannot be shown; its heat map is shown alone.");
  }
}

function tell(text) {
  at("said").hidden = false;
  say(at("said"), text);
}

function draw() {
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (picture) context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  if (heat) lay(context, heat, at("opacity").value / 100);
  if (!found || !at("boxes").checked) return;
  context.lineWidth = Math.max(2, canvas.width / 320);
  context.strokeStyle = "#ffffff";
  for (const box of found.regions) context.strokeRect(box.x, box.y, box.width, box.height);
}

at("opacity").addEventListener("input", draw);
at("boxes").addEventListener("change", draw);
load();
