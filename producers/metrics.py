"""The metrics of the producers' process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from producers.ledger import Tally
from sightline.errors import PublishError
from sightline.metrics import Definition

CAPTURED = Definition("sightline_frames_captured_total", "counter", "Frames that a camera has numbered", ("camera",))
DELIVERED = Definition("sightline_frames_delivered_total", "counter", "Frames that the broker has taken", ("camera",))
DROPPED = Definition(
    "sightline_frames_dropped_total", "counter", "Frames that were given up before the broker", ("camera", "reason")
)
CONNECTED = Definition("sightline_camera_connected", "gauge", "1 while the camera gives frames", ("camera",))
QUEUED = Definition("sightline_producer_queue_frames", "gauge", "Frames in memory that are not sent yet", ("camera",))
UNDER_WAY = Definition("sightline_producer_flight_frames", "gauge", "Frames that the broker has not answered")
SPOOLED = Definition("sightline_spool_frames", "gauge", "Frames that wait on the disk", ("camera",))
SPOOL_BYTES = Definition("sightline_spool_bytes", "gauge", "What the spool takes of the disk", ("camera",))
UNSENT = Definition(
    "sightline_producer_unsent_events", "gauge", "Camera events that the broker has not got", ("camera",)
)
STUCK = Definition("sightline_producer_broker_away", "gauge", "1 while the broker does not answer")
PUBLISH = Definition(
    "sightline_publish_seconds", "histogram", "From capture to the broker's answer, the spool included", ("camera",)
)

DEFINITIONS = (
    CAPTURED, DELIVERED, DROPPED, CONNECTED, QUEUED, UNDER_WAY, SPOOLED, SPOOL_BYTES, UNSENT, STUCK, PUBLISH,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraFacts:
    """What is known of one camera at this moment; `tally` counts since its ledger began, through restarts."""

    name: str
    tally: Tally
    unsent_events: int
    connected: bool
    queued: int
    spooled: int
    spool_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of the process at this moment."""

    cameras: Sequence[CameraFacts]
    under_way: int
    broker_away: bool


class ProducerMetrics(Collector):
    """Reads the ledgers, queues and spools when Prometheus asks; nothing is counted a second time.

    Cameras are those of the settings, so their number is bounded.
    """

    def __init__(self, registry: CollectorRegistry, facts: Callable[[], Facts]) -> None:
        """`facts` gives the Facts of this moment, or raises PublishError."""
        self._facts = facts
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        try:
            facts = self._facts()
        except PublishError:  # a ledger is being closed: the process ends
            return
        captured, delivered, dropped = CAPTURED.counts(), DELIVERED.counts(), DROPPED.counts()
        gauges = {
            definition.name: definition.values()
            for definition in (CONNECTED, QUEUED, SPOOLED, SPOOL_BYTES, UNSENT, UNDER_WAY, STUCK)
        }
        for camera in facts.cameras:
            name, tally = [camera.name], camera.tally
            captured.add_metric(name, tally.captured)
            delivered.add_metric(name, tally.delivered)
            for reason, frames in tally.dropped.items():
                dropped.add_metric([*name, reason.value], frames)
            gauges[CONNECTED.name].add_metric(name, camera.connected)
            gauges[QUEUED.name].add_metric(name, camera.queued)
            gauges[SPOOLED.name].add_metric(name, camera.spooled)
            gauges[SPOOL_BYTES.name].add_metric(name, camera.spool_bytes)
            gauges[UNSENT.name].add_metric(name, camera.unsent_events)
        gauges[UNDER_WAY.name].add_metric([], facts.under_way)
        gauges[STUCK.name].add_metric([], facts.broker_away)
        yield from (captured, delivered, dropped, *gauges.values())


class PublishMetrics:
    """What is measured frame by frame."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = PUBLISH.histogram(registry)

    def delivered(self, camera: str, seconds: float) -> None:
        """The broker has a frame, so long after its capture."""
        self._seconds.labels(camera).observe(seconds)
