"""What a process counts for Prometheus, and where it is served.

A room defines its metrics in its own module `metrics`, as `Definition`s, and its composition root serves them. Names
follow Prometheus: base units, `_total` for counters, `_seconds` and `_bytes`. Values of a label are few and known, but
for cameras: `[metrics] cameras` of them have a value of their own, the rest are counted together (`Bounded`).
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import TracebackType
from typing import Annotated, ClassVar, Literal, Self

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from pydantic import Field

from sightline import __version__
from sightline.settings import Section, run_folder

log = logging.getLogger(__name__)

# a series of its own beside each counter and histogram, which nothing here asks for
disable_created_metrics()  # type: ignore[no-untyped-call]

PORTS = {"producers": 9441, "score": 9442, "incidents": 9443, "history": 9444, "api": 9445, "notify": 9446}
"""Where each process serves its metrics unless `[metrics] ports` says otherwise."""
OTHER = "(other)"
"""The value of a label that stands for all that have none of their own."""

LATENCY_BUCKETS = (0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1, 2, 5, 10, 30, 60, 300)
WORK_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class MetricsSettings(Section):
    """Where metrics are served; a port that is taken is a warning, never the end of a process."""

    section: ClassVar[str] = "metrics"

    enabled: bool = True
    host: str = "127.0.0.1"
    """Metrics name cameras, lines and detectors and are served without a password: keep them off foreign networks."""
    ports: dict[str, Annotated[int, Field(ge=0, le=65535)]] = Field(default_factory=dict)
    """Port of a process by its name (producers, score, incidents, history, api, notify); 0 takes any free one."""
    cameras: Annotated[int, Field(ge=1, le=10_000)] = 256
    """Cameras that have a label of their own; further ones are counted together as `(other)`."""

    def port(self, process: str) -> int:
        return self.ports.get(process, PORTS.get(process, 0))


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric, with the meaning that people read; a counter's name ends in `_total`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = LATENCY_BUCKETS

    def counter(self, registry: CollectorRegistry) -> Counter:
        return Counter(self.name, self.meaning, self.labels, registry=registry)

    def gauge(self, registry: CollectorRegistry) -> Gauge:
        return Gauge(self.name, self.meaning, self.labels, registry=registry)

    def histogram(self, registry: CollectorRegistry) -> Histogram:
        return Histogram(self.name, self.meaning, self.labels, buckets=self.buckets, registry=registry)

    def counts(self) -> CounterMetricFamily:
        """For a collector that reads a counter's values elsewhere."""
        return CounterMetricFamily(self.name, self.meaning, labels=self.labels)

    def values(self) -> GaugeMetricFamily:
        """For a collector that reads a gauge's values elsewhere."""
        return GaugeMetricFamily(self.name, self.meaning, labels=self.labels)

    def buckets_of(self) -> HistogramMetricFamily:
        """For a collector that reads a histogram's buckets elsewhere."""
        return HistogramMetricFamily(self.name, self.meaning, labels=self.labels)


BUILD = Definition("sightline_build_info", "gauge", "1, with the version that runs", ("process", "version"))
DISK_FREE = Definition("sightline_disk_free_bytes", "gauge", "Room left on the disk of a folder", ("folder",))
DEFINITIONS = (BUILD, DISK_FREE)
"""What every process has, beside `process_*` and `python_info` of prometheus_client."""


def all_definitions() -> dict[str, tuple[Definition, ...]]:
    """The definitions of each installed room, and those of every process under `every process`."""
    rooms = sorted(entry_points(group="sightline.metrics"), key=lambda entry: entry.name)
    return {"every process": DEFINITIONS} | {entry.name: entry.load() for entry in rooms}


class Bounded:
    """Names that become a label's value: the first `most` as they are, later ones as `(other)`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def __call__(self, name: str) -> str:
        if name in self._known:
            return name
        if len(self._known) < self._most:
            self._known.add(name)
            return name
        return OTHER


class _Common(Collector):
    """What is known of any process."""

    def __init__(self, process: str, folders: Iterable[Path]) -> None:
        self._process = process
        self._folders = tuple(dict.fromkeys(folders))

    def collect(self) -> Iterator[Metric]:
        build = BUILD.values()
        build.add_metric([self._process, __version__], 1)
        yield build
        free = DISK_FREE.values()
        for folder in self._folders:
            if folder.is_dir():
                free.add_metric([str(folder)], shutil.disk_usage(folder).free)
        yield free


def new_registry(process: str, folders: Iterable[Path] = ()) -> CollectorRegistry:
    """A registry with what every process tells of itself; `folders` are those whose disk it fills."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    registry.register(_Common(process, (run_folder().absolute(), *folders)))
    return registry


class MetricsServer:
    """Serves a registry at `http://HOST:PORT/metrics` from a thread, and notes the address in `run/metrics`.

    The notes have the form of Prometheus' `file_sd_configs`. A process that stops takes its note along; one that is
    killed leaves it, so that Prometheus finds it down. Nothing here raises: a process goes on without its metrics.
    """

    def __init__(self, process: str, registry: CollectorRegistry, settings: MetricsSettings | None = None) -> None:
        self._process = process
        self._registry = registry
        self._settings = settings or MetricsSettings.load()
        self._note: Path | None = None
        self._server: tuple[object, ...] = ()
        self.port: int | None = None

    def __enter__(self) -> Self:
        if self._settings.enabled:
            self._listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening; may be called twice."""
        if self._note:
            self._note.unlink(missing_ok=True)
            self._note = None
        if self._server:
            server, thread = self._server
            self._server = ()
            server.shutdown()  # type: ignore[attr-defined]
            server.server_close()  # type: ignore[attr-defined]
            thread.join()  # type: ignore[attr-defined]

    def _listen(self) -> None:
        host, wanted = self._settings.host, self._settings.port(self._process)
        for port in dict.fromkeys((wanted, 0)):
            try:
                server, thread = start_http_server(port, host, self._registry)
            except OSError as error:
                log.warning(
                    "metrics are not served at %s:%d (%s); stop what holds the port, name another in [metrics] "
                    "ports = {%s = …}, or set [metrics] enabled = false",
                    host,
                    port,
                    error.strerror or error,
                    self._process,
                )
                continue
            self._server, self.port = (server, thread), server.server_port
            log.info("metrics are served", extra={"host": host, "port": self.port})
            self._write_note(host, server.server_port)
            return

    def _write_note(self, host: str, port: int) -> None:
        folder = run_folder() / "metrics"
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        note = [{"targets": [address], "labels": {"process": self._process, "__pid": str(os.getpid())}}]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _forget_the_dead(folder, self._process)
            path = folder / f"{self._process}-{port}.json"
            fresh = path.with_suffix(".partial")
            fresh.write_text(json.dumps(note) + "\n")
            fresh.replace(path)
            self._note = path
        except OSError as error:
            log.warning("address of the metrics not noted", extra={"folder": str(folder), "error": str(error)})


@dataclass(frozen=True, slots=True)
class Noted:
    """A process of this run folder that serves metrics, or did when it was killed."""

    process: str
    address: str
    pid: int

    @property
    def alive(self) -> bool:
        return _lives(self.pid)


def noted_processes() -> list[Noted]:
    """Every process that has noted its address in this run folder, in the order of the line."""
    found = [one for path in sorted((run_folder() / "metrics").glob("*.json")) if (one := _read_note(path))]
    order = list(PORTS)
    return sorted(found, key=lambda one: order.index(one.process) if one.process in order else len(order))


def _read_note(path: Path) -> Noted | None:
    try:
        (entry,) = json.loads(path.read_text())
        return Noted(entry["labels"]["process"], entry["targets"][0], int(entry["labels"]["__pid"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _forget_the_dead(folder: Path, process: str) -> None:
    for path in folder.glob(f"{process}-*.json"):
        note = _read_note(path)
        if note is None or not note.alive:
            path.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
