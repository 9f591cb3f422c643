"""What the demo shows: a feed that follows the topics, and the picture of it in a terminal.

Delivery: a view, not an account. It starts at the present end of the topics and may miss nothing that matters, because
`sightline verify` counts from the tables.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from sightline import codec
from sightline.contracts import Alert, AlertState, CameraEvent, CameraEventKind, Inspection, Severity, Verdict
from sightline.errors import SightlineError
from sightline.file_names import file_name
from sightline.kafka_roles import LIVE_GROUP
from sightline.settings import KafkaSettings

log = logging.getLogger(__name__)

WINDOW_SECONDS = 20.0
SHOWN_ALERTS = 6
VERDICT_STYLE = {Verdict.OK: "green", Verdict.REVIEW: "yellow", Verdict.DEFECT: "bold red"}
STATE_STYLE = {AlertState.OPENED: "bold red", AlertState.UPDATED: "red", AlertState.CLOSED: "dim"}


@dataclass(slots=True)
class CameraView:
    """What was seen of one camera since the feed began."""

    product: str = ""
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    dead_letters: int = 0
    dropped: int = 0
    last: Inspection | None = None
    connected: bool = True
    recent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=5000))
    """(monotonic arrival, latency in seconds) of the last frames."""

    @property
    def inspected(self) -> int:
        return self.verdicts.total()

    def rate(self, now: float) -> float:
        """Frames/s over the last few seconds."""
        return sum(now - arrival < WINDOW_SECONDS / 4 for arrival, _ in self.recent) / (WINDOW_SECONDS / 4)


@dataclass(slots=True)
class View:
    """Everything on the screen."""

    cameras: dict[str, CameraView] = field(default_factory=dict)
    alerts: dict[str, Alert] = field(default_factory=dict)
    detectors: dict[str, str] = field(default_factory=dict)
    judged_offsets: dict[int, int] = field(default_factory=dict)
    """Per partition of `frames`, the highest offset that has a verdict or a dead letter."""
    started: float = field(default_factory=time.monotonic)

    def camera(self, name: str) -> CameraView:
        return self.cameras.setdefault(name, CameraView())


class LiveFeed:
    """Follows inspections, alerts, dead letters and camera events in a thread; saves each alert's picture."""

    def __init__(self, kafka: KafkaSettings, pictures: Path) -> None:
        self.view = View()
        self._pictures = pictures
        self._topics = kafka.topics
        keys = {"group.id": LIVE_GROUP, "enable.auto.commit": False, "isolation.level": "read_committed"}
        self._consumer = Consumer(kafka.librdkafka(**keys), logger=log)
        # questions of the consumer that follows would wait behind its own long polls
        self._asker = Consumer(kafka.librdkafka(**keys), logger=log)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="live-feed", daemon=True)

    def start(self) -> None:
        """Follow the topics from their present end."""
        self._pictures.mkdir(parents=True, exist_ok=True)
        topics = (
            self._topics.inspections, self._topics.alerts, self._topics.dead_letters, self._topics.camera_events,
        )  # fmt: skip
        known = self._consumer.list_topics(timeout=10).topics
        # ask for the end now: frames that come before the first poll must be seen too
        positions = [
            TopicPartition(topic, partition, self._end(topic, partition))
            for topic in topics
            if topic in known
            for partition in known[topic].partitions
        ]
        self._consumer.assign(positions)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=10)
        self._consumer.close()
        self._asker.close()

    def render(self, footer: str) -> RenderableType:
        """The screen as it stands."""
        with self._lock:
            return render(self.view, self._pictures, footer)

    def inspected(self) -> int:
        """Frames whose verdict was seen since the feed began."""
        with self._lock:
            return sum(camera.inspected for camera in self.view.cameras.values())

    def summary(self) -> RenderableType:
        """The screen's first line alone."""
        with self._lock:
            return _summary(self.view, time.monotonic())

    def behind(self) -> int:
        """Frames on the topic that have neither a verdict nor a dead letter yet."""
        known = self._asker.list_topics(self._topics.frames, timeout=10).topics[self._topics.frames]
        lag = 0
        for partition in known.partitions:
            low, end = self._asker.get_watermark_offsets(TopicPartition(self._topics.frames, partition), timeout=10)
            lag += max(0, end - max(low, self.view.judged_offsets.get(partition, low - 1) + 1))
        return lag

    # a topic that was created a moment ago may still be without its leader
    @retry(retry=retry_if_exception_type(KafkaException), wait=wait_fixed(0.2), stop=stop_after_delay(20), reraise=True)
    def _end(self, topic: str, partition: int) -> int:
        _, end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        return int(end)

    def _run(self) -> None:
        take: dict[str, Callable[[Message], None]] = {
            self._topics.inspections: self._inspection,
            self._topics.alerts: self._alert,
            self._topics.dead_letters: self._dead_letter,
            self._topics.camera_events: self._camera_event,
        }
        while not self._stop.is_set():
            for message in self._consumer.consume(500, timeout=0.1):
                if message.error() or message.value() is None:
                    continue
                with self._lock:
                    take[message.topic()](message)

    def _inspection(self, message: Message) -> None:
        inspection = codec.decode(Inspection, message.value())
        camera = self.view.camera(inspection.camera)
        camera.product, camera.last = inspection.product, inspection
        camera.verdicts[inspection.verdict] += 1
        published = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
        camera.recent.append((time.monotonic(), (published - inspection.captured_at).total_seconds()))
        self.view.detectors[inspection.product] = inspection.detector.version
        self._judged(inspection.source.partition, inspection.source.offset)

    def _alert(self, message: Message) -> None:
        alert = codec.decode(Alert, message.value())
        self.view.alerts.pop(alert.alert_id, None)
        self.view.alerts[alert.alert_id] = alert
        if alert.thumbnail:
            self._picture(alert).write_bytes(alert.thumbnail)

    def _dead_letter(self, message: Message) -> None:
        try:
            letter = codec.dead_letter_from_record(message.key(), message.value(), message.headers() or [])
        except SightlineError:
            return
        self.view.camera(letter.camera or "(unknown)").dead_letters += 1
        self._judged(letter.source.partition, letter.source.offset)

    def _camera_event(self, message: Message) -> None:
        event = codec.decode(CameraEvent, message.value())
        camera = self.view.camera(event.camera)
        if event.kind is CameraEventKind.DROPPED and event.first_sequence is not None:
            camera.dropped += (event.last_sequence or event.first_sequence) - event.first_sequence + 1
        if event.kind in (CameraEventKind.CONNECTED, CameraEventKind.DISCONNECTED):
            camera.connected = event.kind is CameraEventKind.CONNECTED

    def _judged(self, partition: int, offset: int) -> None:
        self.view.judged_offsets[partition] = max(offset, self.view.judged_offsets.get(partition, -1))

    def _picture(self, alert: Alert) -> Path:
        return self._pictures / _picture_name(alert)


def _picture_name(alert: Alert) -> str:
    return file_name(f"{alert.camera}-{alert.first_sequence}-{alert.alert_id[:8]}") + ".jpg"


def latency_ms(latencies: list[float]) -> tuple[float, float] | None:
    """Median and 99th percentile in milliseconds; None for fewer than two values."""
    if len(latencies) < 2:
        return None
    cuts = quantiles(latencies, n=100, method="inclusive")
    return cuts[49] * 1000, cuts[98] * 1000


def render(view: View, pictures: Path, footer: str) -> RenderableType:
    """Cameras above, the last alerts below."""
    now = time.monotonic()
    return Group(_summary(view, now), _cameras(view, now), _alerts(view, pictures), Text(footer, style="dim"))


def _summary(view: View, now: float) -> RenderableType:
    frames = sum(camera.inspected for camera in view.cameras.values())
    rate = sum(camera.rate(now) for camera in view.cameras.values())
    spread = latency_ms(_latencies(view.cameras.values(), now))
    shown = f"p50 {spread[0]:.0f} ms, p99 {spread[1]:.0f} ms" if spread else "waiting for frames"
    detectors = ", ".join(f"{product} v{version}" for product, version in view.detectors.items()) or "…"
    minutes, seconds = divmod(int(now - view.started), 60)
    return Text.assemble(
        ("Sightline ", "bold cyan"), (f"{minutes:02}:{seconds:02}  ", "bold"),
        f"{frames:,} frames inspected  {rate:.1f} frames/s  capture → verdict {shown}  ",
        ("detector ", "dim"), detectors,
    )  # fmt: skip


def _cameras(view: View, now: float) -> RenderableType:
    table = Table(expand=True, border_style="dim", header_style="bold")
    table.add_column("camera", no_wrap=True)
    for heading in ("frames/s", "p50 ms", "p99 ms", "ok", "review", "defect", "dead", "dropped"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("last score", ratio=1, no_wrap=True)
    for name in sorted(view.cameras):
        camera = view.cameras[name]
        spread = latency_ms(_latencies([camera], now))
        table.add_row(
            Text(name, style="" if camera.connected else "bold red"),
            f"{camera.rate(now):.1f}",
            f"{spread[0]:.0f}" if spread else "-",
            f"{spread[1]:.0f}" if spread else "-",
            *(Text(str(camera.verdicts[verdict]), style=VERDICT_STYLE[verdict]) for verdict in Verdict),
            str(camera.dead_letters),
            str(camera.dropped),
            _score_bar(camera.last) if camera.last else Text("…", style="dim"),
        )
    return table


def _latencies(cameras: Iterable[CameraView], now: float) -> list[float]:
    return [latency for camera in cameras for arrival, latency in camera.recent if now - arrival < WINDOW_SECONDS]


def _score_bar(inspection: Inspection, cells: int = 12) -> Text:
    """The score against its threshold, which stands two thirds of the way."""
    filled = min(cells, round(inspection.score / inspection.threshold * cells * 2 / 3))
    style = VERDICT_STYLE[inspection.verdict]
    return Text.assemble(
        ("█" * filled, style), ("░" * (cells - filled), "dim"), f" {inspection.score:.1f}/{inspection.threshold:.1f}"
    )


def _alerts(view: View, pictures: Path) -> RenderableType:
    table = Table(expand=True, box=None, header_style="bold")
    for heading in ("opened", "camera", "severity", "state"):
        table.add_column(heading, no_wrap=True)
    table.add_column("frames", justify="right")
    table.add_column("peak", justify="right")
    table.add_column("picture", ratio=1, no_wrap=True, overflow="ellipsis")
    for alert in list(reversed(view.alerts.values()))[:SHOWN_ALERTS]:
        table.add_row(
            alert.opened_at.astimezone().strftime("%H:%M:%S"),
            alert.camera,
            Text(alert.severity.value, style="bold red" if alert.severity is Severity.CRITICAL else "yellow"),
            Text(alert.state.value, style=STATE_STYLE[alert.state]),
            str(alert.count),
            f"{alert.peak_score / alert.threshold:.1f}×",
            Text(_picture_name(alert), style="dim"),
        )
    body: RenderableType = table if view.alerts else Text("none yet", style="dim")
    return Panel(body, title=f"alerts: {len(view.alerts)}  (pictures in {pictures})", border_style="dim")
