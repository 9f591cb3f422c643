"""The files that the embedded broker reads: its properties and its logging."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline.settings import MAX_MESSAGE_BYTES


def server_properties(
    *,
    host: str,
    port: int,
    controller_port: int,
    data: Path,
    certificate_port: int = 0,
    security: Mapping[str, Any] | None = None,
) -> str:
    """Text of `server.properties`: one process that is broker and controller, both on `host`.

    With the properties of `security` all listeners are encrypted, and `certificate_port` is one more, for clients with
    certificates.
    """
    listeners = {"PLAINTEXT": ("PLAINTEXT", port)}
    if security is not None:
        listeners = {"CLIENTS": ("SASL_SSL", port), "CERTIFICATES": ("SSL", certificate_port)}
    inside = {"CONTROLLER": ("PLAINTEXT" if security is None else "SSL", controller_port)}
    properties = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{host}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": _addresses(host, listeners | inside),
        "advertised.listeners": _addresses(host, listeners),
        "listener.security.protocol.map": ",".join(
            f"{name}:{kind}" for name, (kind, _) in (listeners | inside).items()
        ),
        "log.dirs": data,
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
        # the 50 of the default are 50 logs to create at the first commit and to read at each start
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.num.partitions": 4,
        # a first consumer would wait three seconds for others to join it
        "group.initial.rebalance.delay.ms": 0,
        # five minutes of the default is a long time for a small disk
        "log.retention.check.interval.ms": 60_000,
        # for last_ports; Kafka passes over keys that it does not know
        _PORT: port,
        _CONTROLLER_PORT: controller_port,
        _CERTIFICATE_PORT: certificate_port,
        **(security or {}),
    }
    return "".join(f"{key}={value}\n" for key, value in properties.items())


def last_ports(config: Path) -> tuple[int, int]:
    """Ports of the broker and the controller in a file of `server_properties`; 0 for each that it does not tell."""
    return _noted(config, _PORT), _noted(config, _CONTROLLER_PORT)


def last_certificate_port(config: Path) -> int:
    """The port for clients with certificates, as `last_ports`."""
    return _noted(config, _CERTIFICATE_PORT)


def _noted(config: Path, key: str) -> int:
    lines = config.read_text().splitlines() if config.is_file() else []
    return int(dict(line.partition("=")[::2] for line in lines).get(key, 0))


def _addresses(host: str, listeners: Mapping[str, tuple[str, int]]) -> str:
    return ",".join(f"{name}://{host}:{port}" for name, (_, port) in listeners.items())


def logging_properties(log_file: Path) -> str:
    """Text of `log4j2.properties`: everything from INFO on to `log_file`, at most 40 MB of it."""
    return f"""\
rootLogger.level = INFO
rootLogger.appenderRef.file.ref = file
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {log_file.as_posix()}
appender.file.filePattern = {log_file.as_posix()}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{ISO8601}} %-5p %c{{1}} %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
"""


_PORT = "sightline.port"
_CONTROLLER_PORT = "sightline.controller.port"
_CERTIFICATE_PORT = "sightline.certificate.port"
