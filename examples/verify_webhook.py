"""A receiver of Sightline's webhooks in the standard library and one small package: verifies, then handles once.

    pip install standardwebhooks
    WEBHOOK_SECRET=whsec_… python examples/verify_webhook.py 9000

A repeat has the same `webhook-id`; what is answered with 2xx is not sent again.
"""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


class Receiver(BaseHTTPRequestHandler):
    """Prints each alert once."""

    secret = os.environ.get("WEBHOOK_SECRET", "")
    seen: set[str] = set()  # noqa: RUF012 - shared by all requests on purpose; a real receiver keeps it in a database

    def do_POST(self) -> None:
        """204 for an alert of Sightline, 401 for anything else."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            event = Webhook(self.secret).verify(body, dict(self.headers))
        except WebhookVerificationError:
            self.send_response(401)
            self.end_headers()
            return
        if (identity := self.headers["webhook-id"]) not in self.seen:
            self.seen.add(identity)
            print(event["type"], event["data"]["camera"], event["data"]["count"], flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        """Nothing: each alert is printed already."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
