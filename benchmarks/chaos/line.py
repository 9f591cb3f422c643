"""The deployment that is broken: the product's own processes, on small disks, behind a faulty network."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Literal, Self

import psutil
from confluent_kafka import KafkaException

from benchmarks.chaos.camera import PRODUCT
from benchmarks.chaos.disk import SmallDisk
from benchmarks.chaos.evidence import Evidence, TopicReader
from benchmarks.chaos.gauge import Gauge
from benchmarks.chaos.oracle import Rule
from benchmarks.chaos.proxy import FaultyProxy
from infra.broker import BrokerSettings, EmbeddedBroker, write_endpoint
from infra.broker_config import last_ports
from infra.deployment import HISTORY_MEMORY, SCORE_MEMORY
from infra.ports import free_port
from infra.processes import ManagedProcess, tree
from infra.topics import ensure_topics
from sightline.errors import PrerequisiteError, SightlineError
from sightline.settings import KafkaSettings, RegistrySettings

HOST = "127.0.0.1"
RULE = Rule(window=5, defects=2, close_after=5, cool_down=2.0)
HISTORY_SECONDS = 2.0
READY_SECONDS = 900.0
"""For machines that are busy with other things; nothing is timed before."""
Rooted = Literal["small disks", "networks of its own"]
"""What only root can make."""
DISKS = {"kafka": 2048, "tables": 512, "checkpoints": 64, "spool": 64}
"""Mebibytes of each small disk; the spool has room for an outage of minutes."""
DISKS_OF_AN_HOUR = {**DISKS, "kafka": 8192, "tables": 8192, "spool": 512}
"""For a load that lasts; they are memory."""


class ProxiedBroker(EmbeddedBroker):
    """The embedded broker with a second listener, which clients reach through a proxy only."""

    def __init__(self, settings: BrokerSettings) -> None:
        super().__init__(settings)
        # beside the other logs: what it says of a full disk cannot be written on that disk
        self.log_file = self.folder.parent / "logs" / "kafka.log"
        self._behind = free_port(HOST)
        self.proxy = FaultyProxy(HOST, self._behind)

    def stop(self) -> None:
        super().stop()
        self.stop_leftover()

    def _configure(self) -> None:
        super()._configure()
        port, controller = last_ports(self._config)
        # of keys that are there twice the last one counts
        more = {
            "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller},FAULTY://{HOST}:{self._behind}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{port},FAULTY://{HOST}:{self.proxy.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,FAULTY:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
        }
        with self._config.open("a") as file:
            file.writelines(f"{key}={value}\n" for key, value in more.items())


class Line:
    """Broker and cameras, and with `whole` the score query, incidents and history too; leaves nothing running.

    `cameras` send `fps` frames a second each. The processes reach the broker through `proxy`; the oracle does not.
    `disks` are small ones, in mebibytes by folder, made where that is allowed.
    """

    def __init__(
        self, folder: Path, *, cameras: int, fps: float, whole: bool = True, disks: Mapping[str, int] = DISKS
    ) -> None:
        self.folder = folder
        self.whole = whole
        self._disks = disks
        self.rate = cameras * fps
        self.champion = "1"
        """Version of the detector that is in force."""
        self.has: set[Rooted] = set()
        self.disks: dict[str, SmallDisk] = {}
        self._cameras, self._fps = cameras, fps
        self._parts = ExitStack()
        self._ends: dict[str, TopicReader] = {}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._parts.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parts.close()

    @property
    def processes(self) -> tuple[ManagedProcess, ...]:
        return (self.cameras, self.score, self.incidents, self.history) if self.whole else (self.cameras,)

    @property
    def tables(self) -> Path:
        return self.folder / "tables"

    def checkpoint(self, process: str) -> Path:
        return self.folder / "checkpoints" / process

    def revive(self) -> None:
        """What a service manager does: start again whatever has ended."""
        if self.broker.pid is None:
            self.broker.stop()
            self.broker.start()
        self._revive_processes()

    def _revive_processes(self) -> None:
        for process in self.processes:
            if not process.running:
                process.stop()
                process.start()

    def kill(self, process: ManagedProcess, *, whole_tree: bool = True) -> None:
        """`kill -9` of the process, with all that it started or alone, and its next start at once."""
        kill(process, whole_tree=whole_tree)
        process.stop()
        process.start()

    def drain(self) -> None:
        """Stop the cameras when their spools are empty; what is under way goes on."""
        spool = self.folder / "spool"
        deadline = time.monotonic() + 120
        while any(spool.rglob("*.segment")) and time.monotonic() < deadline:
            time.sleep(0.5)
        self.cameras.stop()

    def change_rate(self, rate: float) -> None:
        """Start the cameras, which stand still, at `rate` frames a second together."""
        self.rate = rate
        self.cameras.environment = {**self.cameras.environment, "SIGHTLINE_PRODUCER_FPS": f"{rate / self._cameras:.2f}"}
        self.gauge.expect(rate)
        self.cameras.start()

    def ends(self, topic: str) -> int:
        """Records that a topic ever had, without the deployment's prefix. Raises OSError while the broker is away."""
        if topic not in self._ends:
            self._ends[topic] = TopicReader(self.kafka, topic)
            self._parts.callback(self._ends[topic].close)
        return _asked(self._ends[topic])

    def said(self, process: ManagedProcess | EmbeddedBroker) -> int:
        """Bytes that the process's log file has now."""
        return process.log_file.stat().st_size if process.log_file.is_file() else 0

    def log_since(self, process: ManagedProcess | EmbeddedBroker, place: int) -> str:
        """What the process has logged since its log file had `place` bytes."""
        with process.log_file.open("rb") as file:
            file.seek(place)
            return file.read().decode(errors="replace")

    def _start(self) -> None:
        folder = self.folder
        folder.mkdir(parents=True)
        self._parts.enter_context(_environment("SIGHTLINE_RUN", str(folder)))
        self.kafka = self._start_broker()
        write_endpoint(self.kafka.bootstrap)
        ensure_topics(self.kafka)
        self._plan()
        self.evidence = Evidence(self.kafka, folder / "journals", self.tables if self.whole else None)
        self._parts.callback(self.evidence.close)
        counted = TopicReader(self.kafka, self.kafka.topics.inspections if self.whole else self.kafka.topics.frames)
        self._parts.callback(counted.close)
        for process in (*self.processes, self.twin, self.notify, self.console):
            self._parts.callback(process.stop)
        if self.whole:
            self._start_spark()
        self.cameras.start()
        self.gauge = Gauge(lambda: _asked(counted), self.rate)
        self._parts.callback(self.gauge.close)
        if self.gauge.recovery(time.monotonic(), READY_SECONDS) is None:
            for process in self.processes:
                process.require_running()
            raise SightlineError(f"the line did not reach {self.rate:g} frames/s; see the logs in {folder / 'logs'}")
        if self.whole:
            self._wait_for_tables()

    def _start_broker(self) -> KafkaSettings:
        """Start what the line needs before its own processes, and tell how the oracle reaches the broker."""
        with contextlib.suppress(PrerequisiteError):
            for name, size in self._disks.items():
                self.disks[name] = SmallDisk(self.folder / name, size)
                self._parts.callback(self.disks[name].close)
            if self.disks:
                self.has.add("small disks")
        self.broker = ProxiedBroker(
            BrokerSettings.load(folder=self.folder / "kafka", heap="384m", free_disk_mb=0, start_seconds=READY_SECONDS)
        )
        self._parts.callback(self.broker.proxy.close)
        self._parts.enter_context(self.broker)
        self.proxy = self.broker.proxy
        return KafkaSettings.load(bootstrap=self.broker.bootstrap)

    def _environment(self) -> dict[str, str]:
        """How the line's processes reach the broker."""
        return {"SIGHTLINE_KAFKA_BOOTSTRAP": f"{HOST}:{self.proxy.port}"}

    def _score_environment(self) -> dict[str, str]:
        """Where the score query runs."""
        return {}

    def _wait_for_tables(self) -> None:
        """Return when history has written inspections for the second time: then all its queries run."""
        log, deadline = self.tables / "inspections" / "_delta_log", time.monotonic() + READY_SECONDS
        while len(list(log.glob("*.json"))) < 3:
            self.history.require_running()
            if time.monotonic() > deadline:
                raise SightlineError(f"history wrote nothing; see its log in {self.folder / 'logs'}")
            time.sleep(0.5)

    def _start_spark(self) -> None:
        from models.doubles import write_brightness_bundle
        from models.registry import register_bundle

        bundle = self.folder / "bundles" / "good"
        write_brightness_bundle(bundle, product=PRODUCT)
        register_bundle(bundle, RegistrySettings.load(), alias="champion")
        self.score.start()
        self.incidents.start()
        self.score.wait_until_log_says('"query started"', READY_SECONDS, Event())
        self.history.start()

    def _plan(self) -> None:
        logs, folder = self.folder / "logs", self.folder
        common = {
            "SIGHTLINE_RUN": str(folder),
            **self._environment(),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        alerts = {
            "SIGHTLINE_ALERTS_WINDOW": str(RULE.window),
            "SIGHTLINE_ALERTS_DEFECTS": str(RULE.defects),
            "SIGHTLINE_ALERTS_CLOSE_AFTER": str(RULE.close_after),
            "SIGHTLINE_ALERTS_COOL_DOWN_SECONDS": str(RULE.cool_down),
        }
        cameras = {
            "SIGHTLINE_PRODUCER_POLICY": "drop-oldest",
            "SIGHTLINE_PRODUCER_FPS": str(self._fps),
            "SIGHTLINE_PRODUCER_SPOOL": str(folder / "spool"),
            "SIGHTLINE_PRODUCER_SPOOL_SPARE_MB": "0",
            "SIGHTLINE_PRODUCER_SPOOL_FPS": "200",
        }
        history = {
            "SIGHTLINE_HISTORY_TRIGGER_SECONDS": str(HISTORY_SECONDS),
            "SIGHTLINE_SPARK_DRIVER_MEMORY": HISTORY_MEMORY,
            "SIGHTLINE_SPARK_MASTER": "local[1,4]",
            # often, so that a kill can meet it, and two histories each other
            "SIGHTLINE_HISTORY_COMPACT_AFTER_COMMITS": "4",
        }
        score = {
            "SIGHTLINE_SPARK_DRIVER_MEMORY": SCORE_MEMORY,
            "SIGHTLINE_REGISTRY_POLL_SECONDS": "1",
            **self._score_environment(),
        }

        def process(name: str, module: str, more: Mapping[str, str], *arguments: str) -> ManagedProcess:
            return ManagedProcess(name, module, arguments, environment={**common, **more}, log_folder=logs)

        journals = str(folder / "journals")
        self.cameras = process("cameras", "benchmarks.chaos.camera", cameras, journals, "--cameras", str(self._cameras))
        self.score = process("score", "streaming.score", score)
        self.incidents = process("incidents", "streaming.incidents", alerts)
        self.lost_answer = folder / "lost-answer"
        self.history = process("history", "benchmarks.chaos.deaf_history", history, str(self.lost_answer))
        self.twin = process("history-twin", "streaming.history", history)
        self.notify = process("notify", "sightline", {}, "notify")
        self.console_port = free_port(HOST)
        self.console = process("console", "console", {"SIGHTLINE_API_PORT": str(self.console_port)}, "serve")


def kill(process: ManagedProcess, *, whole_tree: bool = True) -> None:
    """SIGKILL to the process, and with `whole_tree` to its JVM and its workers in the same moment."""
    for victim in tree(process.pid) if whole_tree else tree(process.pid)[:1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()


def any_of(processes: list[psutil.Process], rng: random.Random) -> psutil.Process | None:
    """One of them, the same for the same seed; None when there is none."""
    return rng.choice(sorted(processes, key=lambda process: process.pid)) if processes else None


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _asked(reader: TopicReader) -> int:
    try:
        return reader.ends()
    except KafkaException as error:
        raise OSError(str(error)) from error
