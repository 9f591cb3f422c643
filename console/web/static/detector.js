// Another champion, after a question that names what the gate said; and retraining, begun and followed.

import { again, request } from "./api.js";
import { clock, h, say } from "./dom.js";
import { notice } from "./notice.js";

const at = (name) => document.getElementById(name);
const { product, version } = at("detector").dataset;
const place = `/v1/detectors/${encodeURIComponent(product)}`;
const PHASES = {
  running: "Running",
  done: "Done",
  refused: "Refused by the gate",
  failed: "Failed",
  cancelled: "Cancelled",
  "cut-off": "Cut off, since the server ended while it ran",
};

/** Whether the person says yes; `gate` is one more sentence. */
function sure(title, text, gate, yes) {
  say(at("sure-title"), title);
  say(at("sure-text"), text);
  say(at("sure-gate"), gate ?? "");
  say(at("sure-yes"), yes);
  const dialog = at("sure");
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((done) => {
    dialog.onclose = () => done(dialog.returnValue === "yes");
  });
}

async function verdict(of) {
  try {
    const gate = await request("GET", `${place}/${of}/gate`);
    if (!gate.result) return "No gate has compared this version with the champion.";
    return `The gate compared it with champion ${gate.champion}: ${gate.result}. ${gate.why}.`;
  } catch (fault) {
    return `What the gate said cannot be read: ${fault.message}`;
  }
}

async function change(path, json) {
  say(at("fault"), "");
  try {
    const champion = await request("POST", `${place}/${path}`, { json });
    location.href = `/detectors/${encodeURIComponent(product)}?version=${champion.version}`;
  } catch (fault) {
    say(at("fault"), fault.message);
    at("fault").scrollIntoView({ block: "center" });
  }
}

at("promote")?.addEventListener("click", async () => {
  const gate = await verdict(version);
  const text = `Version ${version} of ${product} will judge all frames within seconds, without a restart.`;
  if (await sure(`Make version ${version} the champion?`, text, gate, "Make it champion")) await change("promote", { version });
});

at("rollback").addEventListener("click", async () => {
  const text = `The version that was champion of ${product} before this one judges again within seconds.`;
  if (await sure("Go back to the former champion?", text, "", "Roll back")) await change("rollback");
});

function tell(state) {
  const running = state.phase === "running";
  at("run").hidden = false;
  at("begin").disabled = running;
  at("cancel").hidden = !running;
  say(at("run-title"), `${PHASES[state.phase]}: ${state.product}, begun by ${state.actor}, ${clock(state.started_at)}${state.ended_at ? `, ended ${clock(state.ended_at)}` : ""}`);
  at("step").hidden = !state.progress;
  if (state.progress) {
    say(at("step-name"), `${state.progress.step}, ${state.progress.done} of ${state.progress.total}`);
    at("progress").max = state.progress.total || 1;
    at("progress").value = state.progress.done;
  }
  const outcome = state.outcome;
  const sentences = [];
  if (outcome?.challenger && state.product === product) {
    sentences.push(h("a", { href: `/detectors/${encodeURIComponent(product)}?version=${outcome.challenger}` }, `Version ${outcome.challenger}: ${outcome.result}`));
  } else if (outcome) sentences.push(outcome.result);
  at("why").replaceChildren(...[...sentences, ...(outcome?.why ?? [])].map((one) => h("li", {}, one)));
  figures(outcome?.metrics ?? {});
  const log = at("log");
  const end = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  at("logged").hidden = !state.log.length;
  say(log, state.log.join("\n"));
  if (end) log.scrollTop = log.scrollHeight;
}

function figures(metrics) {
  const names = [...new Set(Object.keys(metrics).map((name) => name.split("/")[1]))];
  if (!names.length) return at("figures").replaceChildren();
  const cell = (who, name) => h("td", { class: "number right" }, metrics[`${who}/${name}`]?.toPrecision(4) ?? "–");
  at("figures").replaceChildren(
    h(
      "table",
      { class: "rows" },
      h("thead", {}, h("tr", {}, h("th", {}, "Held-out pictures"), h("th", { class: "right" }, "Champion"), h("th", { class: "right" }, "Challenger"))),
      h("tbody", {}, names.map((name) => h("tr", {}, h("th", { scope: "row" }, name.replaceAll("_", " ")), cell("champion", name), cell("challenger", name)))),
    ),
  );
}

let source = null;

function watch() {
  source?.close();
  source = new EventSource("/v1/retraining/stream");
  source.addEventListener("state", (event) => {
    const state = JSON.parse(event.data);
    tell(state);
    if (state.phase !== "running") source.close();
  });
  source.onerror = async () => {
    source.close();
    try {
      tell(await request("GET", "/v1/retraining", { quiet: true }));
      if (!at("cancel").hidden) setTimeout(watch, 1000);
    } catch (fault) {
      if (fault.status === 401) await again().then(watch);
      else setTimeout(watch, 3000);
    }
  };
}

at("retrain").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target.elements;
  const json = { force: form.force.checked, if_drifted: form.if_drifted.checked, policy: form.promote.checked ? "promote" : "propose" };
  try {
    tell(await request("POST", `${place}/retraining`, { json }));
    watch();
  } catch (fault) {
    notice(fault.message, "bad");
  }
});

at("cancel").addEventListener("click", async () => {
  if (!(await sure("Cancel the retraining?", "What it has trained so far is thrown away.", "", "Cancel it"))) return;
  try {
    await request("DELETE", "/v1/retraining");
  } catch (fault) {
    notice(fault.message, "bad");
  }
});

if (at("run").dataset.known) watch();
