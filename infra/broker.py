"""The embedded broker: a real Kafka in KRaft mode, one process, run from its own jars.

Everything of it lies in one folder (`run/kafka`): `data`, the rendered configuration, and the logs. It outlives a
kill -9 with all its messages, and the next start takes the ports of the last one where they are still free.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import shutil
import subprocess
import time
import tomllib
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, ClassVar, Self

import psutil
import tomli_w
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from pydantic import Field

from infra import ports
from infra.broker_config import last_certificate_port, last_ports, logging_properties, server_properties
from infra.broker_security import BrokerSecurity
from infra.jars import locate
from infra.java import SHARED_CORES, find_java
from infra.shared_classes import options
from sightline.errors import BrokerError, PrerequisiteError, SettingsError
from sightline.settings import KafkaRole, KafkaSettings, Section, run_folder

Port = Annotated[int, Field(ge=0, le=65535)]
_MIB = 1024 * 1024
_SECURITY_KEYS = ("security_protocol", "ca_file", "roles")
_log = logging.getLogger(__name__)


class BrokerSettings(Section):
    """The embedded broker; an outside Kafka needs only `KafkaSettings`."""

    section: ClassVar[str] = "broker"

    host: str = "127.0.0.1"
    """Where the broker listens, and the name that it tells its clients: one that they can reach."""
    port: Port = 0
    """0 takes the port of the last start if it is still free, else any free one."""
    controller_port: Port = 0
    secure: bool = False
    """TLS on every listener, a user for each role, and nothing allowed that its role does not need."""
    certificate_port: Port = 0
    """Of a secured broker: where clients connect by certificate, and no password counts."""
    heap: Annotated[str, Field(pattern=r"^[1-9][0-9]*[mg]$")] = "512m"
    folder: Path = Field(default_factory=lambda: run_folder() / "kafka")
    free_disk_mb: Annotated[int, Field(ge=0)] = 2048
    """Disk space that must be free at the start: a full disk stops a broker without a word to its clients."""
    start_seconds: Annotated[float, Field(gt=0)] = 120.0
    stop_seconds: Annotated[float, Field(gt=0)] = 20.0


class EmbeddedBroker:
    """One Kafka process; a context manager that starts and stops it.

    After `start()`, `bootstrap` is the address for clients.
    """

    def __init__(self, settings: BrokerSettings | None = None) -> None:
        self.settings = settings or BrokerSettings.load()
        self.folder = self.settings.folder.absolute()
        self.log_file = self.folder / "kafka.log"
        self._console_log = self.folder / "console.log"
        self._data = self.folder / "data"
        self._config = self.folder / "server.properties"
        self._logging = self.folder / "log4j2.properties"
        self._port = self.settings.port
        self._certificate_port = self.settings.certificate_port
        self._security = BrokerSecurity(self.folder / "security", self.settings.host) if self.settings.secure else None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"{self.settings.host}:{self._port}"

    def endpoint(self) -> dict[str, Any]:
        """The `[kafka]` keys that lead to this broker, credentials of each role included when it is secured."""
        return {"bootstrap": self.bootstrap} | (self._security.endpoint() if self._security else {})

    def certified(self, role: KafkaRole) -> KafkaSettings:
        """How `role` connects by certificate; only of a broker that is secured and has been started."""
        if self._security is None:
            raise SettingsError("this broker has no certificates; set [broker] secure = true and start it again")
        return self._security.certified(role, f"{self.settings.host}:{self._certificate_port}")

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
        self._configure()
        command = self._java_command(java, jars)
        self._format(command)
        self._process = self._launch(command)
        try:
            self._wait_until_it_serves(self._process)
            if self._security:
                self._security.create_users(self.certified("admin"))
        except BaseException:
            self.stop()
            raise
        _log.info("broker serves", extra={"bootstrap": self.bootstrap, "pid": self._process.pid})

    def stop(self) -> None:
        """Stop the broker: ask, then kill after `stop_seconds`. Nothing happens when it does not run."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(self.settings.stop_seconds)
        except subprocess.TimeoutExpired:
            _log.warning("broker does not stop; killing it", extra={"pid": self._process.pid})
            self._process.kill()
            self._process.wait()
        self._process = None

    def leftover(self) -> psutil.Process | None:
        """A broker that runs from this folder but was not started by this object, as after a kill -9 of its parent."""
        for process in psutil.process_iter(["cmdline"]):
            if str(self._config) in (process.info["cmdline"] or ()) and process.pid != self.pid:
                return process
        return None

    def stop_leftover(self) -> bool:
        """Stop what `leftover()` finds, as `stop()` does; tells whether there was one."""
        found = self.leftover()
        if found is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            found.terminate()
            try:
                found.wait(self.settings.stop_seconds)
            except psutil.TimeoutExpired:
                found.kill()
                found.wait(self.settings.stop_seconds)
        return True

    def _check_disk(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free // _MIB
        except OSError as error:
            raise PrerequisiteError(
                f"the broker cannot keep its data in {self.folder} ({error.strerror}); set [broker] folder, or "
                "SIGHTLINE_RUN, to a folder that can be written"
            ) from error
        needed = self.settings.free_disk_mb
        if free < needed:
            raise PrerequisiteError(
                f"{free} MB are free on the disk of {self.folder}, and the broker needs {needed} MB; free some, set "
                "SIGHTLINE_RUN to a folder on another disk, or lower [broker] free_disk_mb"
            )

    def _configure(self) -> None:
        port, controller_port = last_ports(self._config)
        self._port = self._choose_port("port", self.settings.port, port)
        controller_port = self._choose_port("controller_port", self.settings.controller_port, controller_port)
        if self._security:
            self._certificate_port = self._choose_port(
                "certificate_port", self.settings.certificate_port, last_certificate_port(self._config)
            )
            self._security.prepare()
        self._logging.write_text(logging_properties(self.log_file))
        self._config.write_text(
            server_properties(
                host=self.settings.host,
                port=self._port,
                controller_port=controller_port,
                data=self._data,
                certificate_port=self._certificate_port,
                security=self._security.properties() if self._security else None,
            )
        )

    def _choose_port(self, key: str, wanted: int, last: int) -> int:
        host = self.settings.host
        if wanted == 0:
            return last if last and ports.is_free(host, last) else ports.free_port(host)
        if not ports.is_free(host, wanted):
            by = ports.holder(wanted)
            raise PrerequisiteError(
                f"port {wanted} of {host} is taken{f' by {by}' if by else ''}; stop that, or set [broker] {key} to "
                "another port, or to 0 for any free one"
            )
        return wanted

    def _java_command(self, java: Path, jars: list[Path]) -> list[str]:
        return [
            str(java),
            *("-cp", os.pathsep.join(map(str, jars))),
            f"-Dlog4j2.configurationFile={self._logging.as_uri()}",
            f"-Xmx{self.settings.heap}",
            *SHARED_CORES,
            *options("broker", java),
            # a broker without memory answers nobody; ended, its parent notices
            "-XX:+ExitOnOutOfMemoryError",
            f"-XX:ErrorFile={self.folder / 'java-error.log'}",
        ]

    def _format(self, command: list[str]) -> None:
        """Prepare the data folder once; the cluster id that it gets then stays."""
        if (self._data / "meta.properties").is_file():
            return
        answer = subprocess.run(
            [*command, "kafka.tools.StorageTool", "format", "-t", _cluster_id(), "-c", str(self._config)],
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode:
            raise BrokerError(
                f"Kafka could not prepare its data in {self._data}; delete that folder if its messages are not needed. "
                f"Kafka said:\n{(answer.stdout + answer.stderr).strip()}"
            )

    def _launch(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self._console_log.open("wb") as console:
            return subprocess.Popen(
                [*command, "kafka.Kafka", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                # Ctrl-C in a terminal reaches its whole process group; the broker must outlive those that use it
                start_new_session=True,
            )

    def _wait_until_it_serves(self, process: subprocess.Popen[bytes]) -> None:
        seconds = self.settings.start_seconds
        deadline = time.monotonic() + seconds
        while not self._serves():
            if process.poll() is not None:
                raise BrokerError(
                    f"Kafka ended at its start with exit code {process.returncode}; the last lines of its log "
                    f"({self.log_file}):\n{self._last_lines()}"
                )
            if time.monotonic() > deadline:
                raise BrokerError(
                    f"Kafka does not serve on {self.bootstrap} after {seconds:g} s; raise [broker] start_seconds if "
                    f"this machine is slow. The last lines of {self.log_file}:\n{self._last_lines()}"
                )
            time.sleep(0.1)

    def _serves(self) -> bool:
        """Whether the broker answers as a client sees it, which is later than its port is open."""
        if not ports.answers(self.settings.host, self._port):
            return False
        keys = self.certified("admin").librdkafka() if self._security else {"bootstrap.servers": self.bootstrap}
        try:
            return bool(AdminClient({**keys, "log_level": 0}).list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    def _last_lines(self) -> str:
        # what the Java machine itself has to say (no memory, a bad option) never reaches Kafka's log
        texts = [_tail(path) for path in (self.log_file, self._console_log)]
        return "\n".join(text for text in texts if text) or "(nothing was logged)"


def write_endpoint(bootstrap: str, security: Mapping[str, Any] | None = None) -> Path:
    """Note the broker's address in `run/sightline.toml`, where every command looks; other entries there stay.

    `security` are the further `[kafka]` keys of a secured broker; without them those of an earlier one are removed.
    Raises SettingsError when the file is there and is not TOML.
    """
    path = run_folder() / "sightline.toml"
    try:
        tables = tomllib.loads(path.read_text()) if path.is_file() else {}
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML ({error}); correct or delete it") from error
    before = tables.get("kafka", {})
    if "roles" in before:
        before = {key: value for key, value in before.items() if key not in _SECURITY_KEYS}
    tables["kafka"] = {**before, "bootstrap": bootstrap, **(security or {})}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(tomli_w.dumps(tables))
    partial.replace(path)
    return path


def _cluster_id() -> str:
    """Sixteen random bytes as Kafka writes them; its tools would take a leading dash for an option."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def _tail(path: Path, lines: int = 15) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64 * 1024))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
