// Pictures that are not kept are said to be so; an export that is refused says why, and the page stays.

import { request } from "./api.js";
import { h, number } from "./dom.js";
import { notice } from "./notice.js";

for (const image of document.querySelectorAll(".frame img")) {
  const absent = () => image.replaceWith(h("span", {}, "Not kept"));
  if (image.complete && image.naturalWidth === 0 && image.currentSrc) absent();
  else image.addEventListener("error", absent);
}

for (const link of document.querySelectorAll("[data-export]")) {
  link.addEventListener("click", async (event) => {
    event.preventDefault();
    try {
      const { rows } = await request("GET", link.getAttribute("href").replace("?", "/size?"));
      notice(`${number.format(rows)} inspections are on their way.`);
      location.href = link.href;
    } catch (fault) {
      notice(fault.message, "bad");
    }
  });
}
