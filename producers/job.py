"""The producers' process: cameras to Kafka until they end or it is told to stop.

It reads, top to bottom: open the ledgers and the sources, reach the broker, capture in one thread a camera and publish
in one more, look after ledgers and events meanwhile, then drain, settle and say goodbye.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType

from producers.backlog import Backlog, Policy
from producers.capture import Camera
from producers.ledger import Ledger, Tally
from producers.metrics import CameraFacts, Facts, ProducerMetrics, PublishMetrics
from producers.publisher import Lane, Publisher
from producers.reconnecting import Reconnecting
from producers.settings import MEGABYTE, ProducerSettings
from producers.sources import FrameSource, SourceLostError, now
from producers.spool import Spool
from sightline.codec import MAX_NAME
from sightline.contracts import CameraEventKind
from sightline.errors import SettingsError
from sightline.file_names import file_name
from sightline.metrics import MetricsServer, new_registry
from sightline.settings import KafkaSettings
from sightline.traces import TraceSettings, open_tracer

log = logging.getLogger(__name__)

TICK_SECONDS = 0.25
GOODBYE_SECONDS = 3.0
"""How long the last events may take, after the frames have had their `stop_seconds`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraPlan:
    """A camera to run: its name, what it shows if the source cannot tell, and where its frames come from."""

    name: str
    product: str
    source: FrameSource


@dataclass(frozen=True, slots=True)
class Summary:
    """What one camera did in this run."""

    camera: str
    tally: Tally
    failure: str | None = None


def run(
    plans: Sequence[CameraPlan],
    kafka: KafkaSettings,
    settings: ProducerSettings,
    *,
    frames: int | None = None,
    seconds: float | None = None,
    stopping: threading.Event | None = None,
    open_ledger: Callable[..., Ledger] = Ledger,
) -> list[Summary]:
    """Publish every camera until all have ended, `frames` each or `seconds` are over, or `stopping` is set.

    `open_ledger` takes what `Ledger` takes; a test may give one that keeps a record of its own.

    A camera whose source fails for good is reported and left; the others go on. Raises BrokerError, SourceError or
    PublishError when it cannot start, PublishError when it cannot go on.
    """
    _check_names(plans, settings.line)
    stopping = stopping or threading.Event()
    with ExitStack() as stack:
        lanes = {plan.name: _open_lane(plan, settings, stack, open_ledger) for plan in plans}
        cameras = [_camera(plan, lanes[plan.name], settings, stopping) for plan in plans]
        _open_sources(cameras, stack)
        registry = new_registry("producers", [settings.spool_folder])
        traces = TraceSettings.load()
        tracer = open_tracer(traces)
        if tracer:
            stack.callback(tracer.close)
        publisher = Publisher(kafka, settings, lanes, PublishMetrics(registry), traces, tracer)
        publisher.check()
        work = _Run(cameras, lanes, publisher, settings, stopping)
        ProducerMetrics(registry, work.facts)
        stack.enter_context(MetricsServer("producers", registry))
        return work.until_done(frames, seconds)


@contextmanager
def stop_on_signals(stopping: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stopping`; a second one ends the process at once, which the ledger survives."""

    def ask(number: int, _frame: FrameType | None) -> None:
        log.info("stopping", extra={"signal": signal.Signals(number).name})
        signal.signal(number, signal.SIG_DFL)
        stopping.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Run:
    """One run of all cameras, from the first frame to the last event."""

    def __init__(
        self,
        cameras: Sequence[Camera],
        lanes: Mapping[str, Lane],
        publisher: Publisher,
        settings: ProducerSettings,
        stopping: threading.Event,
    ) -> None:
        self._cameras = cameras
        self._lanes = lanes
        self._publisher = publisher
        self._settings = settings
        self._stopping = stopping
        self._halt = threading.Event()
        self._backlog = Backlog(
            [camera.name for camera in cameras], frames=settings.queue_frames, size=settings.queue_bytes
        )
        self._before = {camera.name: camera.ledger.tally() for camera in cameras}
        self._failures: dict[str, str] = {}

    def facts(self) -> Facts:
        """What Prometheus may know of this moment; raises PublishError when a ledger is closed."""
        queued = self._backlog.waiting()
        cameras = []
        for camera in self._cameras:
            spool = self._lanes[camera.name].spool
            source = camera.source
            cameras.append(
                CameraFacts(
                    name=camera.name,
                    tally=camera.ledger.tally(),
                    unsent_events=camera.ledger.unsent(),
                    connected=source.connected if isinstance(source, Reconnecting) else True,
                    queued=queued[camera.name],
                    spooled=spool.waiting if spool else 0,
                    spool_bytes=spool.size if spool else 0,
                )
            )
        return Facts(cameras=cameras, under_way=self._publisher.under_way, broker_away=self._publisher.stuck)

    def until_done(self, frames: int | None, seconds: float | None) -> list[Summary]:
        with ThreadPoolExecutor(len(self._cameras) + 1, thread_name_prefix="sightline") as pool:
            sending = pool.submit(self._publisher.run, self._backlog, self._halt)
            capturing = {
                pool.submit(camera.run, self._backlog, self._stopping, frames): camera for camera in self._cameras
            }
            try:
                self._look_after(capturing, sending, seconds)
            finally:
                self._drain(capturing, sending)
        self._say_goodbye()
        summaries = self._summaries()
        sending.result()
        return summaries

    def _look_after(self, capturing: dict[Future[None], Camera], sending: Future[None], seconds: float | None) -> None:
        """Settle ledgers, send events and heartbeats until capturing is over, time is up or sending failed."""
        ends = None if seconds is None else time.monotonic() + seconds
        next_beat = 0.0
        running = set(capturing)
        while running and not sending.done() and not self._stopping.is_set():
            finished, running = wait(running, timeout=TICK_SECONDS, return_when=FIRST_EXCEPTION)
            self._note_failures(finished, capturing)
            self._settle()
            if time.monotonic() >= next_beat:
                next_beat = time.monotonic() + self._settings.heartbeat_seconds
                for future in running:
                    self._publisher.beat(capturing[future].ledger)
            if ends is not None and time.monotonic() >= ends:
                return

    def _note_failures(self, finished: set[Future[None]], capturing: dict[Future[None], Camera]) -> None:
        for future in finished:
            camera, error = capturing[future], future.exception()
            if error is None or camera.name in self._failures:
                continue
            log.error("camera failed", extra={"camera": camera.name}, exc_info=error)
            self._failures[camera.name] = str(error)
            camera.ledger.report(CameraEventKind.DISCONNECTED, now(), str(error))

    def _drain(self, capturing: dict[Future[None], Camera], sending: Future[None]) -> None:
        """Stop capturing, let what waits go out in `stop_seconds`, and leave the rest to the next start."""
        self._stopping.set()
        deadline = time.monotonic() + self._settings.stop_seconds
        wait(capturing, timeout=self._settings.stop_seconds)
        self._backlog.close()
        wait([sending], timeout=max(0.0, deadline - time.monotonic()))
        self._halt.set()
        wait([*capturing, sending])
        self._note_failures(set(capturing), capturing)
        while (frame := self._backlog.take(0)) is not None:
            self._publisher.put_aside(frame)
        self._publisher.flush(max(0.0, deadline - time.monotonic()))

    def _say_goodbye(self) -> None:
        """Report each camera's last sequence; what the broker does not take now waits for the next start."""
        for camera in self._cameras:
            self._settle_camera(camera)
            camera.ledger.report(CameraEventKind.STOPPED, now(), self._failures.get(camera.name))
        deadline = time.monotonic() + GOODBYE_SECONDS
        while any(camera.ledger.unsent() for camera in self._cameras) and time.monotonic() < deadline:
            self._settle()
            self._publisher.wait(TICK_SECONDS)
        self._publisher.flush(0)

    def _settle(self) -> None:
        for camera in self._cameras:
            self._settle_camera(camera)
            self._publisher.send_events(camera.ledger)

    def _settle_camera(self, camera: Camera) -> None:
        """The spool forgets what the ledger has written down, in this order: a crash in between repeats nothing."""
        spool = self._lanes[camera.name].spool
        settled = spool.settled() if spool else []
        camera.ledger.settle(now())
        if spool:
            spool.forget(settled)

    def _summaries(self) -> list[Summary]:
        summaries = []
        for camera in self._cameras:
            tally = camera.ledger.tally().since(self._before[camera.name])
            summaries.append(Summary(camera.name, tally, self._failures.get(camera.name)))
            log.info(
                "summary",
                extra={
                    "camera": camera.name,
                    "captured": tally.captured,
                    "delivered": tally.delivered,
                    "dropped": {str(reason): count for reason, count in tally.dropped.items()},
                    "spooled": tally.pending,
                    "unsent_events": camera.ledger.unsent(),
                },
            )
        return summaries


def _check_names(plans: Sequence[CameraPlan], line: str) -> None:
    names = [plan.name for plan in plans]
    for name in (line, *names, *(plan.product for plan in plans)):
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise SettingsError(
                f"{name!r} cannot be the name of a line, camera or product; use 1 to {MAX_NAME} printable characters"
            )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SettingsError(f"camera {twice[0]!r} is named twice; give each source its own --camera")


def _open_lane(
    plan: CameraPlan, settings: ProducerSettings, stack: ExitStack, open_ledger: Callable[..., Ledger]
) -> Lane:
    policy = settings.policy or (Policy.DROP_OLDEST if plan.source.live else Policy.BLOCK)
    if not settings.spool_mb:
        return Lane(_opened(open_ledger(settings.ledger, settings.line, plan.name, now()), stack), None, policy)
    spool = Spool(
        settings.spool_folder / file_name(plan.name),
        size=settings.spool_mb * MEGABYTE,
        spare=settings.spool_spare_mb * MEGABYTE,
    )
    ledger = _opened(open_ledger(settings.ledger, settings.line, plan.name, now(), spool.open), stack)
    stack.callback(spool.close)
    spool.retain(ledger.pending())
    if spool.waiting:
        log.info("frames wait on the disk", extra={"camera": plan.name, "frames": spool.waiting})
    return Lane(ledger, spool, policy)


def _opened(ledger: Ledger, stack: ExitStack) -> Ledger:
    stack.callback(ledger.close)
    return ledger


def _camera(plan: CameraPlan, lane: Lane, settings: ProducerSettings, stopping: threading.Event) -> Camera:
    source, ledger = plan.source, lane.ledger
    if source.live:
        report = partial(_report, ledger)
        source = Reconnecting(source, longest=settings.retry_seconds, stopping=stopping, report=report)
    return Camera(
        name=plan.name, product=plan.product, source=source, ledger=ledger, policy=lane.policy, settings=settings
    )


def _report(ledger: Ledger, kind: CameraEventKind, message: str) -> None:
    ledger.report(kind, now(), message)


def _open_sources(cameras: Sequence[Camera], stack: ExitStack) -> None:
    """Open every source. A live camera that is away is waited for as long as another one works."""
    away: dict[str, SourceLostError] = {}
    for camera in cameras:
        stack.callback(camera.source.close)
        try:
            camera.source.open()
        except SourceLostError as loss:
            away[camera.name] = loss
    if len(away) == len(cameras):
        raise next(iter(away.values()))
    for camera in cameras:
        if camera.name in away and isinstance(camera.source, Reconnecting):
            camera.source.lost(str(away[camera.name]))
