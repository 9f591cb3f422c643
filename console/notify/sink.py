"""What every receiver of alerts is, and the words in which it is told of one."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import msgspec

from sightline.contracts import Alert
from sightline.errors import SettingsError


class Sink(Protocol):
    """Tells one receiver of alerts.

    `most` is how many alerts of one line one delivery takes, `rest_seconds` how long that line is left alone after it,
    `seconds` how long a delivery may take before it is broken off.
    """

    most: int
    rest_seconds: float
    seconds: float

    async def open(self) -> None:
        """Begin; does not wait for the receiver."""

    async def send(self, alerts: Sequence[Alert]) -> None:
        """Returns once the receiver has them; raises DeliveryError when it has not."""

    async def close(self) -> None:
        """Let go of the connection."""


Overtaken = Callable[[str, Alert], bool]
"""Whether the receiver of this name was told of a later alert of the same camera."""


def never(_name: str, _alert: Alert) -> bool:
    """For a receiver without an outbox."""
    return False


def message_id(alert: Alert) -> str:
    """The same for every repeat of one revision, and for nothing else."""
    return f"{alert.alert_id}.{alert.revision}"


def without_picture(alert: Alert) -> Alert:
    """The alert as receivers get it that asked for no pictures."""
    return replace(alert, thumbnail=None)


def envelope(alert: Alert) -> bytes:
    """`{"type": "alert.opened", "timestamp": …, "data": ALERT}`, the alert as in docs/schemas/alert.json."""
    return msgspec.json.encode({"type": f"alert.{alert.state.value}", "timestamp": alert.updated_at, "data": alert})


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Verifies the receiver against `ca_file`, or the system's certificates; raises SettingsError naming the file."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"ca_file {str(ca_file)!r} holds no certificates to trust: {error}") from None
