"""Faults of a plant with several machines: three brokers with three copies, and Spark's cluster with two workers."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from benchmarks.chaos.fault import Fault, MissedError, idle, insist
from benchmarks.chaos.hosts import Network
from benchmarks.chaos.line import Line, any_of
from benchmarks.cluster import BrokerCluster, Host, SparkCluster
from sightline.errors import PrerequisiteError
from sightline.settings import KafkaSettings

BROKERS = 3
WORKERS = 2
_COPIES_SECONDS = 120.0


class GrownLine(Line):
    """A line on three brokers, each on a host of its own where that is allowed, that judges on two Spark workers."""

    network: Network
    brokers: BrokerCluster
    cluster: SparkCluster

    def revive(self) -> None:
        for node in self.brokers.nodes:
            if not self.brokers.runs(node):
                self.brokers.start(node)
        while self.cluster.workers < WORKERS:
            self.cluster.add()
        self._revive_processes()

    def _start_broker(self) -> KafkaSettings:
        hosts = [Host()] * BROKERS
        with contextlib.suppress(PrerequisiteError):
            self.network = self._parts.enter_context(Network(BROKERS))
            self.has.add("networks of its own")
            hosts = self.network.hosts
        self.brokers = self._parts.enter_context(BrokerCluster(self.folder / "kafka", hosts))
        self.cluster = self._parts.enter_context(SparkCluster(self.folder / "cluster"))
        for _ in range(WORKERS):
            self.cluster.add()
        return KafkaSettings.load(bootstrap=self.brokers.bootstrap, replication=BROKERS)

    def _environment(self) -> dict[str, str]:
        return {"SIGHTLINE_KAFKA_BOOTSTRAP": self.brokers.bootstrap, "SIGHTLINE_KAFKA_REPLICATION": str(BROKERS)}

    def _score_environment(self) -> dict[str, str]:
        return self.cluster.settings


def executor_killed(line: Line, rng: random.Random) -> float:
    """The JVM that runs half of the tasks, and its Python workers with it."""
    grown = _grown(line)
    idle(rng)
    victim = any_of(grown.cluster.executors(), rng)
    if victim is None:
        raise MissedError("no executor runs")
    with contextlib.suppress(psutil.NoSuchProcess):
        victim.kill()
    return time.monotonic()


def spark_worker_killed(line: Line, rng: random.Random) -> float:
    """A machine of the cluster is gone with all that it ran; after a while another takes its place."""
    grown = _grown(line)
    idle(rng)
    grown.cluster.kill()
    killed = time.monotonic()
    time.sleep(rng.uniform(5, 15))
    return killed


def one_broker_killed(line: Line, rng: random.Random) -> float:
    with _one_away(line, rng) as (grown, node):
        grown.brokers.kill(node)
        killed = time.monotonic()
        time.sleep(rng.uniform(10, 30))
        grown.brokers.start(node)
    return killed


def one_broker_cut_off(line: Line, rng: random.Random) -> float:
    """It lives and knows nothing of the others, nor they of it, while clients still hold their connections to it."""
    with _one_away(line, rng) as (grown, node):
        cut = time.monotonic()
        with grown.network.cut_off(node):
            time.sleep(rng.uniform(15, 40))
    return cut


@contextmanager
def _one_away(line: Line, rng: random.Random) -> Iterator[tuple[GrownLine, int]]:
    """One of the brokers, to be taken away and brought back; afterwards it must have all copies again."""
    grown = _grown(line)
    idle(rng)
    yield grown, rng.choice(grown.brokers.nodes)
    insist(grown.brokers.in_sync, _COPIES_SECONDS, "all copies of all partitions")


def _grown(line: Line) -> GrownLine:
    if not isinstance(line, GrownLine):
        raise TypeError("a fault of several machines needs a line of several machines")
    return line


FAULTS = (
    Fault("executor-killed", executor_killed, 10, grown=True, within=30),
    Fault("spark-worker-killed", spark_worker_killed, 5, grown=True, within=30),
    Fault("one-of-three-brokers-killed", one_broker_killed, 5, grown=True, within=30),
    Fault("one-of-three-brokers-cut-off", one_broker_cut_off, 5, grown=True, within=30, needs="networks of its own"),
)
