"""All processes of Sightline on one machine, against an embedded broker or one that runs elsewhere.

Started from the back of the line to the front, so that nothing waits for a reader; stopped from the front to the back,
each part only after it has nothing left to do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self

from infra.acls import ensure_acls
from infra.broker import BrokerSettings, EmbeddedBroker, write_endpoint
from infra.lag import behind
from infra.live import LiveFeed
from infra.processes import ManagedProcess
from infra.topics import TopicReport, ensure_topics
from sightline.kafka_roles import GRANTED_ROLES, INCIDENTS_GROUP
from sightline.settings import KafkaSettings, run_folder

log = logging.getLogger(__name__)

READY_SECONDS = 180.0
STALLED_SECONDS = 60.0

# What each JVM may take on a machine that runs all of them (docs/benchmarks.md has what they use).
SCORE_MEMORY = "700m"
HISTORY_MEMORY = "900m"

Wait = Callable[[str, Callable[[], int]], None]
"""Waits until the callable says 0; the text says for what."""


class Deployment:
    """The parts of one machine: a context manager that leaves nothing running."""

    def __init__(self, produce: Sequence[str], outside_kafka: str | None = None) -> None:
        self._outside_kafka = outside_kafka
        logs = run_folder() / "logs"
        self.score = ManagedProcess(
            "score", "streaming.score", environment={"SIGHTLINE_SPARK_DRIVER_MEMORY": SCORE_MEMORY}, log_folder=logs
        )
        self.incidents = ManagedProcess("incidents", "streaming.incidents", log_folder=logs)
        self.history = ManagedProcess(
            "history",
            "streaming.history",
            environment={"SIGHTLINE_SPARK_DRIVER_MEMORY": HISTORY_MEMORY, "SIGHTLINE_SPARK_MASTER": "local[1,4]"},
            log_folder=logs,
            # it may lag, verdicts may not
            nice=10,
        )
        self.producers = ManagedProcess("producers", "producers", ["produce", *produce], log_folder=logs)
        # people wait for verdicts longer than for a page
        self.pages = ManagedProcess("serve", "console", ["serve"], log_folder=logs, nice=5)
        self._parts = ExitStack()

    def __enter__(self) -> Self:
        """Start the broker, unless one outside was named, and create the topics."""
        if self._outside_kafka is None:
            self.broker = self._parts.enter_context(EmbeddedBroker(BrokerSettings.load()))
            open_up(self.broker)
            settings = KafkaSettings.load(**self.broker.endpoint())
        else:
            settings = KafkaSettings.load(bootstrap=self._outside_kafka)
            write_endpoint(settings.bootstrap)
            ensure_topics(settings.for_role("admin"))
        self.kafka = settings.for_role("engineer")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parts.close()

    @property
    def processes(self) -> tuple[ManagedProcess, ...]:
        return self.producers, self.score, self.incidents, self.history

    def start(self, stop: Event) -> LiveFeed:
        """Start every process but the producers; returns when frames can be judged."""
        feed = LiveFeed(self.kafka, run_folder() / "alerts")
        feed.start()
        self._parts.callback(feed.stop)
        for process in self.processes:
            self._parts.callback(process.stop)
        for process in (self.score, self.incidents):
            process.start()
        self.score.wait_until_log_says('"query started"', READY_SECONDS, stop)
        # two JVMs that start at once take twice as long to the first verdict; the history can catch up
        self.history.start()
        return feed

    def open_pages(self) -> None:
        """Start the console's pages; nothing else depends on them."""
        self._parts.callback(self.pages.stop)
        self.pages.start()

    def drain(self, feed: LiveFeed, wait: Wait | None = None) -> None:
        """Stop the cameras, then each part that has nothing left to do; the history goes on, for whoever counts."""
        wait = wait or wait_for_none
        self.producers.stop()
        wait("every frame to be judged", feed.behind)
        self.score.stop()
        group = self.kafka.topic_prefix + INCIDENTS_GROUP
        wait("the last incidents", lambda: behind(self.kafka, group, self.kafka.topics.inspections))
        self.incidents.stop()


def open_up(broker: EmbeddedBroker) -> tuple[Path, TopicReport]:
    """Note where a broker that has been started is, create its topics and, where it is secured, grant the rights."""
    endpoint = broker.endpoint()
    security = {key: value for key, value in endpoint.items() if key != "bootstrap"}
    noted = write_endpoint(broker.bootstrap, security)
    kafka = KafkaSettings.load(**endpoint)
    report = ensure_topics(kafka.for_role("admin"))
    if broker.settings.secure:
        ensure_acls(kafka.for_role("admin"), {role: role for role in GRANTED_ROLES}, apply=True)
    return noted, report


def wait_for_none(what: str, left: Callable[[], int]) -> None:
    """Wait until `left()` is 0, as long as it falls at all; what stays is logged, and named by `sightline verify`."""
    least, since = left(), time.monotonic()
    while least:
        time.sleep(0.3)
        if (remaining := left()) < least:
            least, since = remaining, time.monotonic()
        elif time.monotonic() - since > STALLED_SECONDS:
            log.error("gave up waiting", extra={"what": what, "left": remaining, "seconds": STALLED_SECONDS})
            return
