"""Clusters on one machine: Spark's own standalone master with workers that come and go, and several brokers."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import pyspark
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from infra import ports
from infra.broker_config import logging_properties, server_properties
from infra.jars import locate
from infra.java import SHARED_CORES, java_program
from infra.processes import tree
from sightline.errors import BrokerError, SightlineError

_HOST = "127.0.0.1"
_CLUSTER_ID = "c2lnaHRsaW5lLWJlbmNoIQ"
_START_SECONDS = 60.0
_EXECUTOR = "org.apache.spark.executor.CoarseGrainedExecutorBackend"


@dataclass(frozen=True, slots=True)
class Host:
    """Where a broker runs: its address, and the words before a command that start it there."""

    address: str = _HOST
    prefix: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Node:
    """A broker that is also a controller."""

    host: Host
    port: int
    controller: int

    @property
    def listens(self) -> str:
        return f"{self.host.address}:{self.port}"

    @property
    def votes(self) -> str:
        return f"{self.host.address}:{self.controller}"


class SparkCluster:
    """A standalone master; `add` starts a worker of one core, `kill` ends the newest with all that it runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._home = Path(pyspark.__file__).parent
        self._parts = ExitStack()
        self._workers: list[subprocess.Popen[bytes]] = []
        port = ports.free_port(_HOST)
        self.master = f"spark://{_HOST}:{port}"
        self._port = port

    def __enter__(self) -> Self:
        folder = self._folder
        folder.mkdir(parents=True, exist_ok=True)
        master = self._start("Master", ["--port", str(self._port), "--webui-port", str(ports.free_port(_HOST))])
        self._parts.callback(_kill_tree, master)
        deadline = time.monotonic() + _START_SECONDS
        while not ports.answers(_HOST, self._port):
            if master.poll() is not None or time.monotonic() > deadline:
                self._parts.close()
                raise SightlineError(f"Spark's master did not start; see {folder / 'Master.log'}")
            time.sleep(0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._workers:
            self.kill()
        self._parts.close()

    @property
    def settings(self) -> dict[str, str]:
        """Environment of a Sightline process that runs its query here."""
        return {
            "SIGHTLINE_SPARK_MASTER": self.master,
            "SIGHTLINE_SPARK_CONF": (
                '{"spark.executor.memory": "600m", "spark.executor.cores": "1", '
                # an executor that is killed counts as failed; a cluster's owner who takes one away does not want that
                '"spark.task.maxFailures": "10", "spark.deploy.maxExecutorRetries": "-1"}'
            ),
        }

    def add(self) -> None:
        """One more worker; the master gives the running query an executor on it."""
        name = f"Worker-{len(self._workers)}"
        arguments = ["--cores", "1", "--memory", "700m", "--webui-port", str(ports.free_port(_HOST))]
        arguments += ["--work-dir", str(self._folder / "work"), self.master]
        self._workers.append(self._start("worker.Worker", arguments, name))

    def kill(self) -> None:
        """SIGKILL to the newest worker, its executor and the Python processes below."""
        _kill_tree(self._workers.pop())

    @property
    def workers(self) -> int:
        """How many workers live."""
        return sum(worker.poll() is None for worker in self._workers)

    def executors(self) -> list[psutil.Process]:
        """The JVMs that run the query's tasks."""
        return [process for process in self.processes() if _EXECUTOR in _command(process)]

    def processes(self) -> list[psutil.Process]:
        """Everything that the workers run, themselves included."""
        return [process for worker in self._workers for process in tree(worker.pid)]

    def _start(self, role: str, arguments: list[str], name: str = "") -> subprocess.Popen[bytes]:
        name = name or role
        package = role if "." in role else f"{role.lower()}.{role}"
        command = [
            str(java_program()),
            *("-cp", str(self._home / "jars" / "*")),
            "-Xmx128m",
            *SHARED_CORES,
            f"org.apache.spark.deploy.{package}",
            *("--host", _HOST, *arguments),
        ]
        environment = {
            **os.environ,
            "SPARK_HOME": str(self._home),
            "SPARK_LOCAL_IP": _HOST,
            # as Spark's own start script tells its workers, who look for a build of Spark otherwise
            "SPARK_SCALA_VERSION": "2.13",
        }
        with (self._folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )


class BrokerCluster:
    """A broker for each of `hosts`, also a controller; topics have as many copies as `infra.topics` is asked for."""

    def __init__(self, folder: Path, hosts: Sequence[Host] = (Host(),) * 3) -> None:
        self._folder = folder
        self._nodes = {
            number: _Node(host, ports.free_port(_HOST), ports.free_port(_HOST)) for number, host in enumerate(hosts, 1)
        }
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self.bootstrap = ",".join(node.listens for node in self._nodes.values())

    @property
    def nodes(self) -> list[int]:
        return list(self._nodes)

    def __enter__(self) -> Self:
        try:
            for node in self._nodes:
                self._prepare(node)
            for node in self._nodes:
                self.start(node)
            self._wait(len(self._nodes))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()
        self._running.clear()

    def start(self, node: int) -> None:
        """Start one broker, the first time or again."""
        with (self._folder / f"console-{node}.log").open("ab") as log:
            self._running[node] = subprocess.Popen(
                [*self._java(node), "kafka.Kafka", str(self._folder / f"server-{node}.properties")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self, node: int) -> None:
        """SIGKILL to one broker."""
        process = self._running.pop(node)
        process.kill()
        process.wait()

    def runs(self, node: int) -> bool:
        """Whether this broker's process lives."""
        return node in self._running and self._running[node].poll() is None

    def in_sync(self) -> bool:
        """Whether every partition has all its copies; False too while no broker answers."""
        try:
            topics = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0}).list_topics(timeout=5).topics
        except KafkaException:
            return False
        found = [partition for topic in topics.values() for partition in topic.partitions.values()]
        return bool(found) and all(len(partition.isrs) == len(partition.replicas) for partition in found)

    def cpu_seconds(self) -> float:
        """Processor time of all brokers so far."""
        times = [psutil.Process(process.pid).cpu_times() for process in self._running.values()]
        return float(sum(time.user + time.system for time in times))

    def _java(self, node: int) -> list[str]:
        return [
            *self._nodes[node].host.prefix,
            str(java_program()),
            *("-cp", os.pathsep.join(map(str, locate("broker")))),
            f"-Dlog4j2.configurationFile={(self._folder / f'log-{node}.properties').as_uri()}",
            "-Xmx320m",
            *SHARED_CORES,
        ]

    def _prepare(self, node: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        own = self._nodes[node]
        (self._folder / f"log-{node}.properties").write_text(logging_properties(self._folder / f"kafka-{node}.log"))
        text = server_properties(
            host=own.host.address, port=own.port, controller_port=own.controller, data=self._folder / f"data-{node}"
        )
        more: Mapping[str, object] = {
            "node.id": node,
            "controller.quorum.voters": ",".join(f"{number}@{each.votes}" for number, each in self._nodes.items()),
            "offsets.topic.replication.factor": 3,
            "transaction.state.log.replication.factor": 3,
            "transaction.state.log.min.isr": 2,
        }
        config = self._folder / f"server-{node}.properties"
        # of two values for one key the later counts
        config.write_text(text + "".join(f"{key}={value}\n" for key, value in more.items()))
        answer = subprocess.run(
            [*self._java(node), "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(config)],
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode:
            raise BrokerError(f"Kafka could not prepare broker {node}:\n{(answer.stdout + answer.stderr).strip()}")

    def _wait(self, count: int) -> None:
        admin, deadline = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0}), time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                if len(admin.list_topics(timeout=2).brokers) == count:
                    return
            except KafkaException:
                pass
            time.sleep(0.2)
        raise BrokerError(f"{count} brokers did not come up; see the logs in {self._folder}")


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    for member in tree(process.pid):
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()
