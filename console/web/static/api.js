// Asks this server. A session that has ended is begun again in place, so that nothing typed is lost.

const meta = (name) => document.querySelector(`meta[name="${name}"]`);

export const role = meta("role")?.content ?? null;
export const me = meta("who")?.content ?? null;

const ROLES = ["viewer", "operator", "engineer", "admin"];

/** Whether who is logged in may do what `needed` may. */
export const may = (needed) => ROLES.indexOf(role) >= ROLES.indexOf(needed);

/** What went wrong, as a sentence. `status` is 0 where the server was not reached; `type` is the problem's slug. */
export class Fault extends Error {
  constructor(message, status, type) {
    super(sentence(message));
    this.status = status;
    this.type = type;
  }
}

/** With a capital at the start and a full stop at the end. */
export function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

/**
 * The parsed JSON of an answer (null without a body); throws Fault. `json` is the body to send; `headers` are more of
 * them. An `AbortSignal` in `signal` ends it. With `quiet`, an ended session is a Fault like any other.
 */
export async function request(method, path, { json, headers = {}, signal, quiet = false } = {}) {
  for (let tries = 0; ; tries++) {
    const answer = await send(method, path, json, headers, signal);
    if (answer.ok) return answer.status === 204 ? null : answer.json();
    const fault = await explain(answer);
    if (!quiet && tries < 3 && answer.status === 401 && meta("who")) await again();
    else if (tries === 0 && fault.type === "csrf") await fresh();
    else throw fault;
  }
}

/** The bytes of an answer, with its header `Content-Type`; throws Fault. */
export async function bytes(path, { signal } = {}) {
  for (let tries = 0; ; tries++) {
    const answer = await send("GET", path, undefined, {}, signal);
    if (answer.ok) return answer.arrayBuffer();
    const fault = await explain(answer);
    if (tries < 3 && answer.status === 401 && meta("who")) await again();
    else throw fault;
  }
}

async function send(method, path, json, headers, signal) {
  const sent = { ...headers };
  if (json !== undefined) sent["Content-Type"] = "application/json";
  if (method !== "GET" && meta("csrf")) sent["X-CSRF-Token"] = meta("csrf").content;
  try {
    return await fetch(path, { method, headers: sent, body: json === undefined ? undefined : JSON.stringify(json), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Fault("The server cannot be reached. Nothing was lost; it is worth trying again", 0, "unreachable");
  }
}

async function explain(answer) {
  try {
    const problem = await answer.json();
    return new Fault(problem.detail ?? answer.statusText, answer.status, (problem.type ?? "").split(":").pop());
  } catch {
    return new Fault(`The server answered ${answer.status} and no reason`, answer.status, "");
  }
}

async function fresh() {
  const found = await request("GET", "/v1/session");
  if (found.csrf && meta("csrf")) meta("csrf").content = found.csrf;
}

let asking = null;

/** Shows the dialog of an ended session, once for all who wait; done when the person is in again. */
export function again() {
  asking ??= askAgain().finally(() => {
    asking = null;
  });
  return asking;
}

async function askAgain() {
  try {
    // another tab may have logged in meanwhile
    const found = await request("GET", "/v1/session", { quiet: true });
    if (found.name === me) {
      if (found.csrf && meta("csrf")) meta("csrf").content = found.csrf;
      return;
    }
  } catch (fault) {
    if (fault.status !== 401) throw fault;
  }
  const dialog = document.getElementById("again");
  const form = dialog.querySelector("form");
  const said = form.querySelector(".fault");
  form.elements.password.value = "";
  said.textContent = "";
  dialog.showModal();
  form.elements.password.focus();
  await new Promise((done) => {
    form.onsubmit = async (event) => {
      event.preventDefault();
      said.textContent = "";
      try {
        const json = { name: form.elements.name.value, password: form.elements.password.value };
        const session = await request("POST", "/v1/session", { json, quiet: true });
        if (meta("csrf")) meta("csrf").content = session.csrf;
        form.elements.password.value = "";
        dialog.close();
        done();
      } catch (fault) {
        said.textContent = fault.message;
        form.elements.password.select();
      }
    };
    dialog.oncancel = (event) => event.preventDefault();
    form.querySelector("[data-other]").onclick = () => {
      location.href = `/login?next=${encodeURIComponent(location.pathname + location.search)}`;
    };
  });
}

/** A key that makes a repeated request count once. */
export const once = () => crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16)).join("");
