// Pictures that are not kept are said to be so; an export that is refused says why instead of leaving the page.

import { h } from "./dom.js";
import { bytes } from "./api.js";
import { notify } from "./notice.js";

for (const image of document.querySelectorAll(".frame img")) {
  const absent = () => image.replaceWith(h("span", {}, "Not kept"));
  if (image.complete && image.naturalWidth === 0 && image.loading !== "lazy") absent();
  image.addEventListener("error", absent);
}

for (const link of document.querySelectorAll("[data-export]")) {
  link.addEventListener("click", async (event) => {
    event.preventDefault();
    link.setAttribute("aria-busy", "true");
    try {
      // asks for the first byte alone: what is refused is refused before it
      const stop = new AbortController();
      const answer = await fetch(link.href, { signal: stop.signal });
      if (answer.ok) {
        stop.abort();
        location.href = link.href;
      } else {
        await bytes(link.getAttribute("href"));
      }
    } catch (fault) {
      notify(fault.message, { bad: true });
    } finally {
      link.removeAttribute("aria-busy");
    }
  });
}
