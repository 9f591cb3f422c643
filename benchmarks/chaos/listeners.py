"""Those who hear of alerts and hang: a webhook's receiver, and the console. The line must not notice."""

from __future__ import annotations

import random
import threading
import time
import tomllib
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import tomli_w

from benchmarks.chaos.evidence import TopicReader
from benchmarks.chaos.fault import BrokenError, Fault, idle, insist
from benchmarks.chaos.kills import frozen
from benchmarks.chaos.line import HOST, Line
from infra.processes import tree

_SECRET = "whsec_c2lnaHRsaW5lLWNoYW9zLXNlY3JldHMh"
_START_SECONDS = 120.0
_LATE_SECONDS = 180.0
"""A receiver that timed out is tried again after growing pauses."""
_RATE_SECONDS = 30.0


class Receiver:
    """A webhook's receiver that can be made to hang; `heard` has the ids of what it took."""

    def __init__(self) -> None:
        self.heard: set[str] = set()
        self.hung = 0
        """Requests that came while it hung."""
        self._answers = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                receiver.hung += not receiver._answers.is_set()
                receiver._answers.wait()
                receiver.heard.add(self.headers["webhook-id"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{HOST}:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True).start()

    def release(self) -> None:
        """Answer from now on, also what waits."""
        self._answers.set()

    def close(self) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()


def receiver_hangs(line: Line, rng: random.Random) -> float:
    """It takes connections and never answers; once it does, it must be told of every alert that it is due."""
    with (
        closing(Receiver()) as receiver,
        closing(TopicReader(line.kafka, line.kafka.topics.alerts)) as alerts,
        _notified(line, receiver),
    ):
        insist(lambda: receiver.hung > 0, _START_SECONDS, "an alert for the receiver")
        for _ in alerts.read():  # it may have begun to listen in the midst of these
            pass
        idle(rng, 10)
        _unmoved(line, "a receiver of alerts hangs")
        released = time.monotonic()
        receiver.release()
        due = _due(value for record in alerts.read() if (value := record.value()))

        def missing() -> set[str]:
            return due - receiver.heard

        insist(
            lambda: not missing(),
            _LATE_SECONDS,
            lambda: f"{len(missing())} of {len(due)} alerts sent on: {', '.join(sorted(missing())[:3])}",
        )
    return released


def console_hangs(line: Line, rng: random.Random) -> float:
    """The server of the console stands still, with all that it reads; afterwards it answers again."""
    line.console.start()
    try:
        insist(lambda: _answers(line), _START_SECONDS, "the console's first page")
        with frozen(tree(line.console.pid)):
            idle(rng, 10)
            _unmoved(line, "the console hangs")
        back = time.monotonic()
        insist(lambda: _answers(line), 30, "the console answers again")
    finally:
        line.console.stop()
    return back


def _unmoved(line: Line, what: str) -> None:
    if line.gauge.recovery(time.monotonic(), _RATE_SECONDS) is None:
        raise BrokenError(f"the line has not its rate while {what}")


@contextmanager
def _notified(line: Line, receiver: Receiver) -> Iterator[None]:
    """`sightline notify` runs, and knows the receiver."""
    secret = line.folder / "receiver.secret"
    secret.write_text(_SECRET)
    file = line.folder / "sightline.toml"
    known = tomllib.loads(file.read_text())
    webhook = {"url": receiver.url, "secret_file": str(secret), "timeout_seconds": 3}
    file.write_text(tomli_w.dumps(known | {"notify": {"webhook": {"chaos": webhook}}}))
    line.notify.start()
    try:
        yield
    finally:
        line.notify.stop()
        file.write_text(tomli_w.dumps(known))


def _due(alerts: Iterable[bytes]) -> set[str]:
    """The ids under which a receiver hears of them: of each that opened, and of its end."""
    due: set[str] = set()
    opened: set[str] = set()
    for alert in map(msgspec.json.decode, alerts):
        if alert["state"] == "opened":
            opened.add(alert["alert_id"])
        elif alert["state"] != "closed" or alert["alert_id"] not in opened:
            continue
        due.add(f"{alert['alert_id']}.{alert['revision']}")
    return due


def _answers(line: Line) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{line.console_port}/login", timeout=2) as page:
            return bool(page.status == 200)
    except OSError:
        return False


FAULTS = (
    Fault("receiver-hangs", receiver_hangs, 4),
    Fault("console-hangs", console_hangs, 3),
)
