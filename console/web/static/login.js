// Logging in, and making the first admin.

import { request } from "./api.js";

function handle(form, path, fields, check = () => null) {
  const said = form.querySelector(".fault");
  const button = form.querySelector("button.primary");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    said.textContent = check(form.elements) ?? "";
    if (said.textContent) return;
    button.disabled = true;
    try {
      const json = Object.fromEntries(fields.map((name) => [name, form.elements[name].value]));
      await request("POST", path, { json });
      const next = new URL(form.dataset.next ?? "/", location.origin);
      location.href = next.origin === location.origin ? next.href : "/";
    } catch (fault) {
      said.textContent = fault.message;
      button.disabled = false;
    }
  });
}

const login = document.getElementById("login");
if (login) handle(login, "/v1/session", ["name", "password"]);

const setup = document.getElementById("setup");
if (setup) {
  const same = ({ password, again }) => (password.value === again.value ? null : "The two passwords differ.");
  handle(setup, "/v1/setup", ["token", "name", "password"], same);
}
