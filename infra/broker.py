"""The embedded broker: a real Kafka in KRaft mode, one process, run from its own jars.

Everything of it lies in one folder (`run/kafka`): `data`, the rendered `server.properties`, and the logs. It outlives a
kill -9 with all its messages, and the next start takes the ports of the last one where they are still free.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import shutil
import socket
import subprocess
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Annotated, ClassVar, Self

import psutil
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from pydantic import Field

from infra import ports
from infra.jars import locate
from infra.java import find_java
from sightline.errors import BrokerError, PrerequisiteError
from sightline.settings import MAX_MESSAGE_BYTES, Section, run_folder

Port = Annotated[int, Field(ge=0, le=65535)]
_MIB = 1024 * 1024
_log = logging.getLogger(__name__)


class BrokerSettings(Section):
    """The embedded broker; an outside Kafka needs only `KafkaSettings`."""

    section: ClassVar[str] = "broker"

    host: str = "127.0.0.1"
    """Where the broker listens, and the name that it tells its clients: one that they can reach."""
    port: Port = 0
    """0 takes the port of the last start if it is still free, else any free one."""
    controller_port: Port = 0
    heap: Annotated[str, Field(pattern=r"^[1-9][0-9]*[mg]$")] = "512m"
    folder: Path = Field(default_factory=lambda: run_folder() / "kafka")
    free_disk_mb: Annotated[int, Field(ge=0)] = 2048
    """Disk space that must be free at the start: a full disk stops a broker without a word to its clients."""
    start_seconds: Annotated[float, Field(gt=0)] = 60.0
    stop_seconds: Annotated[float, Field(gt=0)] = 20.0


class EmbeddedBroker:
    """One Kafka process; a context manager that starts and stops it.

    After `start()`, `bootstrap` is the address for clients.
    """

    def __init__(self, settings: BrokerSettings | None = None) -> None:
        self.settings = settings or BrokerSettings.load()
        self.folder = self.settings.folder.absolute()
        self.log_file = self.folder / "kafka.log"
        self._config = self.folder / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None
        self._port = self.settings.port
        self._controller_port = self.settings.controller_port

    @property
    def bootstrap(self) -> str:
        return f"{self.settings.host}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The process id while the broker that this object started lives."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the broker and return once it serves.

        Raises PrerequisiteError for missing Java, jars or disk space and for a taken port; BrokerError when a broker
        already runs from this folder, or with the last lines of the log when Kafka does not come up.
        """
        java = find_java()
        jars = locate("broker")
        self._check_disk()
        if other := self.leftover():
            raise BrokerError(
                f"a broker already runs from {self.folder} (process {other.pid}); use it, or stop it with "
                "`sightline broker --stop`"
            )
        self._choose_ports()
        self._write_config()
        command = self._java_command(java, jars)
        self._format(command)
        with (self.folder / "console.log").open("wb") as console:
            self._process = subprocess.Popen(
                [*command, f"-Xmx{self.settings.heap}", "kafka.Kafka", self._config],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal reaches the whole group; the broker must outlive the processes that use it
                start_new_session=True,
            )
        try:
            self._wait_until_it_serves(self._process)
        except BaseException:
            self.stop()
            raise
        _log.info("broker serves", extra={"bootstrap": self.bootstrap, "pid": self._process.pid})

    def stop(self) -> None:
        """Stop the broker: ask, then kill after `stop_seconds`. Nothing happens when it does not run."""
        if self._process is None:
            return
        _end(psutil.Process(self._process.pid) if self._process.poll() is None else None, self.settings.stop_seconds)
        self._process.wait()
        self._process = None

    def leftover(self) -> psutil.Process | None:
        """A broker that runs from this folder but was not started by this object, as after a kill -9 of its parent."""
        for process in psutil.process_iter(["cmdline"]):
            if str(self._config) in (process.info["cmdline"] or ()) and process.pid != self.pid:
                return process
        return None

    def stop_leftover(self) -> bool:
        """Stop what `leftover()` finds; tells whether there was one."""
        found = self.leftover()
        _end(found, self.settings.stop_seconds)
        return found is not None

    def _check_disk(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free // _MIB
        except OSError as error:
            raise PrerequisiteError(
                f"the broker cannot keep its data in {self.folder} ({error.strerror}); set [broker] folder, or "
                "SIGHTLINE_RUN, to a folder that can be written"
            ) from error
        if free < self.settings.free_disk_mb:
            raise PrerequisiteError(
                f"{free} MB are free on the disk of {self.folder}, and the broker needs {self.settings.free_disk_mb} MB; "
                "free some, set SIGHTLINE_RUN to a folder on another disk, or lower [broker] free_disk_mb"
            )

    def _choose_ports(self) -> None:
        last = _properties(self._config)
        self._port = self._choose("port", self.settings.port, last.get("sightline.port"))
        self._controller_port = self._choose(
            "controller_port", self.settings.controller_port, last.get("sightline.controller.port")
        )

    def _choose(self, key: str, wanted: int, last: str | None) -> int:
        host = self.settings.host
        if wanted == 0:
            return int(last) if last and ports.is_free(host, int(last)) else ports.free_port(host)
        if not ports.is_free(host, wanted):
            by = ports.holder(wanted)
            raise PrerequisiteError(
                f"port {wanted} of {host} is taken{f' by {by}' if by else ''}; stop that, or set [broker] {key} to "
                "another port, or to 0 for any free one"
            )
        return wanted

    def _write_config(self) -> None:
        (self.folder / "log4j2.properties").write_text(_LOGGING.format(file=self.log_file))
        lines = (f"{key}={value}" for key, value in self._server_properties().items())
        self._config.write_text("\n".join(lines) + "\n")

    def _server_properties(self) -> dict[str, str | int]:
        host, port, controller_port = self.settings.host, self._port, self._controller_port
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{host}:{controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://{host}:{port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": f"{self.folder / 'data'}",
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "replica.fetch.max.bytes": MAX_MESSAGE_BYTES,
            # a topic made by a typing error would have none of the settings that infra.topics gives
            "auto.create.topics.enable": "false",
            # one broker: internal topics cannot have the three replicas that are the default
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            # the 50 of the default are 50 files to create at the first commit and to read at each start
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.num.partitions": 4,
            # a first consumer would wait three seconds for others to join it
            "group.initial.rebalance.delay.ms": 0,
            "log.retention.check.interval.ms": 60_000,
            # read back at the next start; Kafka ignores keys that it does not know
            "sightline.port": port,
            "sightline.controller.port": controller_port,
        }

    def _java_command(self, java: Path, jars: list[Path]) -> list[str | Path]:
        return [
            java,
            *("-cp", os.pathsep.join(map(str, jars))),
            f"-Dlog4j2.configurationFile={(self.folder / 'log4j2.properties').as_uri()}",
            "-Djava.awt.headless=true",
            "-XX:+ExitOnOutOfMemoryError",
            f"-XX:ErrorFile={self.folder / 'hs_err.log'}",
        ]

    def _format(self, command: list[str | Path]) -> None:
        """Prepare the data folder once; the cluster id that it gets then stays."""
        if (self.folder / "data" / "meta.properties").is_file():
            return
        answer = subprocess.run(
            [
                *command,
                "kafka.tools.StorageTool",
                "format",
                "-t",
                _cluster_id(),
                "-c",
                self._config,
                "--ignore-formatted",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode:
            raise BrokerError(
                f"Kafka could not prepare its data in {self.folder / 'data'}; delete that folder if its messages are "
                f"not needed. Kafka said:\n{(answer.stdout + answer.stderr).strip()}"
            )

    def _wait_until_it_serves(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.settings.start_seconds
        while not _serves(self.bootstrap):
            if process.poll() is not None:
                raise BrokerError(
                    f"Kafka ended at its start with exit code {process.returncode}; the last lines of its log "
                    f"({self.log_file}):\n{self._last_lines()}"
                )
            if time.monotonic() > deadline:
                raise BrokerError(
                    f"Kafka does not serve on {self.bootstrap} after {self.settings.start_seconds:g} s; raise [broker] "
                    f"start_seconds if this machine is slow. The last lines of {self.log_file}:\n{self._last_lines()}"
                )
            time.sleep(0.1)

    def _last_lines(self, count: int = 15) -> str:
        # what the Java machine itself has to say (no memory, a bad option) never reaches Kafka's log
        texts = (_tail(path, count) for path in (self.log_file, self.folder / "console.log"))
        return "\n".join(text for text in texts if text) or "(nothing was logged)"


_LOGGING = """\
rootLogger.level = INFO
rootLogger.appenderRef.file.ref = file
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {file}
appender.file.filePattern = {file}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{ISO8601}} %-5p %c{{1}} %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
"""


def _serves(bootstrap: str) -> bool:
    """Whether the broker answers as a client sees it, which is later than its port is open."""
    host, _, port = bootstrap.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        return bool(client.list_topics(timeout=2).brokers)
    except KafkaException:
        return False


def _end(process: psutil.Process | None, seconds: float) -> None:
    """Ask the process to stop, and kill it when it has not within `seconds`."""
    if process is None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            process.wait(seconds)
        except psutil.TimeoutExpired:
            _log.warning("broker does not stop; killing it", extra={"pid": process.pid})
            process.kill()
            process.wait(seconds)


def _cluster_id() -> str:
    """Sixteen random bytes as Kafka writes them; its tools take a leading dash for an option."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def _properties(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    return dict(line.partition("=")[::2] for line in path.read_text().splitlines() if "=" in line)


def _tail(path: Path, count: int) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64 * 1024))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
