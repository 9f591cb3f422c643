// Follows server-sent events of this server, and says when they are broken or stale.

import { again, request } from "./api.js";

const PATIENCE = 6000;
const RETRY = 2000;

/**
 * Follows `path`. `on` has a function for each name of an event; its data is parsed. `state(since)` is told null when
 * the stream is alive and the time (ms) since when it is not. The server sends something every two seconds.
 */
export function follow(path, on, state) {
  let source = null;
  let heard = Date.now();
  let broken = false;

  function tell() {
    const now = Date.now() - heard > PATIENCE;
    if (now || now !== broken) state(now ? heard : null);
    broken = now;
  }

  function open() {
    source?.close();
    source = new EventSource(path);
    for (const [name, handler] of Object.entries(on)) {
      source.addEventListener(name, (event) => {
        heard = Date.now();
        if (broken) tell();
        handler(JSON.parse(event.data));
      });
    }
    source.addEventListener("beat", () => {
      heard = Date.now();
      if (broken) tell();
    });
    source.onerror = () => {
      source.close();
      setTimeout(reopen, RETRY);
    };
  }

  async function reopen() {
    try {
      // an EventSource does not say why it failed: a session that has ended is asked for again here
      await request("GET", "/v1/session", { quiet: true });
    } catch (fault) {
      if (fault.status === 401) await again().catch(() => null);
      else {
        setTimeout(reopen, RETRY);
        return;
      }
    }
    open();
  }

  open();
  const timer = setInterval(tell, 1000);
  return () => {
    clearInterval(timer);
    source?.close();
  };
}
