// What every page has: the theme, and the way out.

import { request } from "./api.js";
import { notice } from "./notice.js";

document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  try {
    localStorage.setItem("theme", root.dataset.theme);
  } catch {
    // storage is off: it holds for this page
  }
});

document.getElementById("leave")?.addEventListener("click", async () => {
  try {
    await request("DELETE", "/v1/session", { quiet: true });
  } catch (fault) {
    if (fault.status !== 401) {
      notice(fault.message, "bad");
      return;
    }
  }
  location.href = "/login";
});
