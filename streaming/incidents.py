"""The incident process: inspections in, alerts out, a few milliseconds later.

Delivery: exactly once for readers of committed records. The alerts that a batch of inspections causes, the state of its
cameras after it (`alerts.state`, compacted, key camera) and its offsets leave in one Kafka transaction: after any crash
either all three count or none does, and the fold goes on from the last state that counts. Repeats within `inspections`
itself are known to the fold. See docs/adr/0002 for why this is not a Spark query.

A camera's alerts and state go to the partition number of its inspections, so an instance needs the state of just the
partitions that it was given, and the process scales with the partitions.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from confluent_kafka import KafkaException

from sightline import logs
from sightline.errors import BrokerError
from sightline.kafka_refusal import refusal
from sightline.metrics import MetricsServer, MetricsSettings, new_registry
from sightline.settings import KafkaSettings
from sightline.traces import Tracer, TraceSettings, open_tracer
from streaming.fold import AlertSettings
from streaming.incident_session import IncidentSession, IncidentSettings
from streaming.metrics import IncidentMetrics, unseen
from streaming.supervise import FIRST_PAUSE, HEALTHY_SECONDS, stop_event
from streaming.watchdog import Watchdog

log = logging.getLogger(__name__)


def main() -> None:
    """Run until SIGTERM or Ctrl-C."""
    logs.configure("incidents")
    stop = stop_event()
    measured, registry = MetricsSettings.load(), new_registry("incidents")
    kafka, policy, settings = KafkaSettings.load().for_role("incidents"), AlertSettings.load(), IncidentSettings.load()
    tracer = open_tracer(TraceSettings.load())
    with MetricsServer("incidents", registry, measured), Watchdog(settings.hang_seconds) as watchdog:
        follow(kafka, policy, settings, stop, IncidentMetrics(registry, measured), tracer, watchdog.heard)
    if tracer:
        tracer.close()
    log.info("stopped")


def follow(
    kafka: KafkaSettings,
    policy: AlertSettings,
    settings: IncidentSettings,
    stop: threading.Event,
    metrics: IncidentMetrics | None = None,
    tracer: Tracer | None = None,
    alive: Callable[[], object] = lambda: None,
) -> None:
    """Fold inspections until `stop` is set; whatever Kafka refuses is answered with a new session after a pause.

    A new session has a new producer, a new membership and the state as committed, so it needs to know nothing of how
    the last one ended: a fenced producer, a lost partition and a restarted broker are the same case. `alive` is called
    before each step that may take long.
    """
    metrics = metrics or unseen()
    pause = FIRST_PAUSE
    while not stop.is_set():
        started = time.monotonic()
        try:
            with IncidentSession(kafka, policy, settings, metrics, tracer, alive) as session:
                while not stop.is_set():
                    session.step()
        except (KafkaException, BrokerError) as error:
            if time.monotonic() - started > HEALTHY_SECONDS:
                pause = FIRST_PAUSE
            why = refusal(kafka, error) or error
            log.warning("session ended, another follows: %s", why, extra={"pause_s": pause})
            alive()
            stop.wait(pause)
            alive()
            pause = min(2 * pause, settings.longest_pause_seconds)


if __name__ == "__main__":
    main()
