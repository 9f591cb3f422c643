"""The line under test: broker, `score` and `incidents` as they are deployed, in a folder of the benchmark's own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self

import psutil

from benchmarks.cluster import BrokerCluster, SparkCluster
from benchmarks.pictures import Pictures
from infra.broker import BrokerSettings, EmbeddedBroker, write_endpoint
from infra.deployment import HISTORY_MEMORY, READY_SECONDS, SCORE_MEMORY
from infra.processes import ManagedProcess, memory, python_workers, tree
from infra.topics import ensure_topics
from models.registry import CHAMPION, champions, register_bundle
from models.runtime.card import CARD_FILE, bundle_digest
from sightline.errors import SightlineError
from sightline.settings import KafkaSettings, RegistrySettings

PRODUCT = "bottle_cap"
SEED = 7
"""Of the simulated line."""
GOOD_FRAMES = 120


def trained(folder: Path, pictures: Pictures, method: str = "padim") -> Path:
    """The bundle of a detector of parts of the line that `pictures` shows, trained the first time.

    Of another line, or at other proportions, every frame would be a defect, and its picture kept.
    """
    data = data_folder(folder, pictures)
    if not data.is_dir():
        shape = ["--width", str(pictures.width), "--height", str(pictures.height), "--seed", str(SEED)]
        _run(["producers", "simulate", str(data), "-p", PRODUCT, "--train", str(GOOD_FRAMES), *shape])
    bundle = folder / "bundles" / f"{method}-{data.name}"
    if not (bundle / CARD_FILE).is_file():
        training = ["models", "train", str(data), "--product", PRODUCT, "--method", method, "--variants", "none"]
        _run([*training, "--no-promote", "--output", str(bundle)])
    return bundle


def quantised(source: Path, data: Path) -> Path:
    """The bundle of the INT8 form of the detector in `source`, which learnt from `data`; made the first time."""
    bundle = source.with_name(f"{source.name}-int8")
    if not (bundle / CARD_FILE).is_file():
        _run(["models", "quantise", str(source), str(data), "--no-register", "--output", str(bundle)])
    return bundle


def make_champion(bundle: Path) -> None:
    """Let the detector in `bundle` judge the line."""
    registry = RegistrySettings.load()
    champion = champions(registry).get(PRODUCT)
    if champion is None or champion.digest != bundle_digest(bundle):
        register_bundle(bundle, registry, alias=CHAMPION)


def data_folder(folder: Path, pictures: Pictures) -> Path:
    """Where `trained` keeps what it learns from."""
    return folder / "data" / f"{PRODUCT}-{pictures.width}x{pictures.height}"


class LineUnderTest:
    """A broker, the score query and the incident process; leaves nothing running."""

    def __init__(
        self,
        folder: Path,
        environment: dict[str, str] | None = None,
        module: str = "streaming.score",
        brokers: BrokerCluster | None = None,
        workers: SparkCluster | None = None,
        partitions: int | None = None,
        history: bool = False,
    ) -> None:
        """`environment` holds more settings of the processes, as `SIGHTLINE_*`; `module` is what scores.

        Without `brokers` an embedded one is started, without `workers` the query runs in its own JVM. With
        `history` the tables are filled too, as on a machine that does all of it.
        """
        self._folder = folder
        self._brokers, self._workers, self._partitions = brokers, workers, partitions
        self._more = environment or {}
        self._module, self._fills_tables = module, history
        self._parts = ExitStack()
        self.broker: EmbeddedBroker | None = None

    def __enter__(self) -> Self:
        os.environ["SIGHTLINE_RUN"] = str(self._folder)
        if self._brokers:
            bootstrap, copies = self._brokers.bootstrap, 3
        else:
            log = self._folder / "kafka"
            # minutes of frames are tens of gigabytes
            self._parts.callback(shutil.rmtree, log, ignore_errors=True)
            broker = EmbeddedBroker(BrokerSettings.load(folder=log))
            self.broker, copies = self._parts.enter_context(broker), 1
            bootstrap = broker.bootstrap
        prefix = f"b{int(time.time())}."
        self.kafka = KafkaSettings.load(
            bootstrap=bootstrap, topic_prefix=prefix, partitions=self._partitions, replication=copies
        )
        write_endpoint(bootstrap)
        ensure_topics(self.kafka)
        common = {
            "SIGHTLINE_KAFKA_TOPIC_PREFIX": prefix,
            "SIGHTLINE_KAFKA_PARTITIONS": str(self.kafka.partitions),
            "SIGHTLINE_KAFKA_REPLICATION": str(copies),
            **(self._workers.settings if self._workers else {}),
            **self._more,
        }
        logs = self._folder / "logs"
        self.score = ManagedProcess(
            "score",
            self._module,
            environment={
                "SIGHTLINE_SPARK_DRIVER_MEMORY": SCORE_MEMORY,
                "SIGHTLINE_SCORE_CHECKPOINT": str(self._folder / "checkpoints" / prefix),
                **common,
            },
            log_folder=logs,
        )
        self.incidents = ManagedProcess("incidents", "streaming.incidents", environment=common, log_folder=logs)
        self.processes = [self.score, self.incidents]
        if self._fills_tables:
            self.processes.append(self._history(prefix, common, logs))
        for process in self.processes:
            self._parts.callback(process.stop)
            process.start()
        self.score.wait_until_log_says('"query started"', READY_SECONDS, Event())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parts.close()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The score process and all its children stand still."""
        tree = self._tree()
        _signal(tree, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(tree, signal.SIGCONT)

    def workers_memory(self) -> list[int]:
        """Proportional set size of each Python worker of Spark, in bytes."""
        return [memory(process) for process in python_workers(self.score.pid)]

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time so far, by what it was spent in."""
        spent = {"score: JVM": 0.0, "score: Python": 0.0}
        for process in self._tree():
            try:
                times = process.cpu_times()
                spent["score: JVM" if process.name() == "java" else "score: Python"] += times.user + times.system
            except psutil.NoSuchProcess:
                continue
        for name, pid in (("incidents", self.incidents.pid), ("broker", self.broker.pid if self.broker else None)):
            if pid:
                times = psutil.Process(pid).cpu_times()
                spent[name] = times.user + times.system
        if self._brokers:
            spent["broker"] = self._brokers.cpu_seconds()
        return spent

    def _history(self, prefix: str, environment: dict[str, str], logs: Path) -> ManagedProcess:
        """As a deployment on one machine starts it; its tables are deleted in the end."""
        tables = self._folder / "tables" / prefix
        self._parts.callback(shutil.rmtree, tables, ignore_errors=True)
        own = {
            "SIGHTLINE_SPARK_DRIVER_MEMORY": HISTORY_MEMORY,
            "SIGHTLINE_SPARK_MASTER": "local[1,4]",
            "SIGHTLINE_TABLES_ROOT": str(tables),
            "SIGHTLINE_HISTORY_CHECKPOINTS": str(self._folder / "checkpoints" / f"{prefix}history"),
        }
        return ManagedProcess("history", "streaming.history", environment=environment | own, log_folder=logs, nice=10)

    def _tree(self) -> list[psutil.Process]:
        return [*tree(self.score.pid), *(self._workers.processes() if self._workers else [])]


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def _run(command: list[str]) -> None:
    answer = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise SightlineError(
            f"`{' '.join(command[:2])}` failed with exit code {answer.returncode}:\n{answer.stderr[-2000:]}"
        )
