"""A kafka-python consumer that either works or says why not, and leaves nothing behind when it does not."""

from __future__ import annotations

import socket
from functools import cache
from typing import Any

from sightline.errors import BrokerError, SettingsError
from sightline.settings import MAX_MESSAGE_BYTES, KafkaSettings

_REMEDY = (
    "start one (`sightline broker` or `make demo`), or name yours in SIGHTLINE_KAFKA_BOOTSTRAP or under [kafka] "
    "bootstrap in sightline.toml"
)


def open_consumer(settings: KafkaSettings, *, connect_seconds: float, **more: Any) -> Any:
    """A `kafka.KafkaConsumer` that commits nothing and creates no topic by itself; `more` are further arguments.

    Raises BrokerError with address and remedy when nothing listens there, at once, or no broker answers within
    `connect_seconds`.
    """
    from kafka import KafkaConsumer
    from kafka.errors import KafkaError
    from kafka.net.compat import KafkaNetClient

    _require_listener(settings.bootstrap, connect_seconds)
    clients = []

    def client(**keys: Any) -> Any:
        clients.append(KafkaNetClient(**keys))
        return clients[-1]

    keys: dict[str, Any] = {
        "kafka_client": client,
        "proxy_url": _direct_scheme() + "://",
        # also where to go on when retention has removed the position: at what is left, not behind it
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "allow_auto_create_topics": False,
        "bootstrap_timeout_ms": int(connect_seconds * 1000),
        "reconnect_backoff_max_ms": 1000,
        "max_partition_fetch_bytes": MAX_MESSAGE_BYTES,
    }
    try:
        return KafkaConsumer(**settings.kafka_python(**keys | more))
    except (KafkaError, OSError) as error:
        for opened in clients:
            # the constructor that failed has left its thread and its sockets to us
            opened.close()
        raise BrokerError(
            f"what listens at {settings.bootstrap} does not answer as a Kafka broker: {error}; correct the address or "
            f"the [kafka] security settings (now {settings.security_protocol}, user {settings.user or 'none'})"
        ) from error


@cache
def _direct_scheme() -> str:
    """Name of a kind of connection without a proxy that closes what it could not connect.

    kafka-python 3.0 forgets to: while a broker is away, every attempt would hold a socket until the next collection of
    garbage, which an idle program may never see. Kinds of connection are found by the scheme of a proxy's URL.
    """
    from kafka.net.inet import KafkaNetSocket

    class DirectSocket(KafkaNetSocket):  # type: ignore[misc]
        SCHEMES = ("sightline-direct",)

        async def sock_connect(self, net: Any, sock: socket.socket, sockaddr: Any, timeout_at: Any = None) -> Any:
            try:
                return await super().sock_connect(net, sock, sockaddr, timeout_at=timeout_at)
            except Exception:
                sock.close()
                raise

    return DirectSocket.SCHEMES[0]


def _require_listener(bootstrap: str, seconds: float) -> None:
    """Raises BrokerError when none of the addresses takes a connection."""
    faults = []
    for address in bootstrap.split(","):
        host, colon, port = address.strip().rpartition(":")
        if not colon or not port.isdecimal():
            raise SettingsError(f"[kafka] bootstrap must be HOST:PORT, or several with commas, not {bootstrap!r}")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=seconds):
                return
        except (OSError, OverflowError) as error:
            faults.append(str(error))
    raise BrokerError(f"no Kafka broker answers at {bootstrap} ({'; '.join(faults)}); {_REMEDY}")
