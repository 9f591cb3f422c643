"""Settings of `sightline notify`: one table for each receiver, `[notify.KIND.NAME]`.

No secret stands in the settings themselves: they name files, which only the process needs to be able to read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import ErrorDetails

from console.loopback import is_loopback
from sightline.contracts import AlertState, Severity
from sightline.errors import SettingsError
from sightline.settings import Section, run_folder

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=300)]
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


class Place(BaseModel):
    """What a receiver hears of; an empty list is everything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lines: frozenset[str] = frozenset()
    cameras: frozenset[str] = frozenset()
    products: frozenset[str] = frozenset()
    severities: frozenset[Severity] = frozenset()


class Rules(Place):
    """Which alerts a receiver gets, see `console.notify.rules`."""

    states: frozenset[AlertState] = frozenset({AlertState.OPENED, AlertState.CLOSED})


class WebhookSettings(Rules):
    """POST to one address, signed as Standard Webhooks says."""

    url: str
    secret_file: Path
    """Holds the signing secret, `whsec_` and base64, as https://www.standardwebhooks.com says."""
    ca_file: Path | None = None
    """Certificates to trust instead of the system's, PEM."""
    pictures: bool = False
    """Whether `data.thumbnail` is sent."""
    timeout_seconds: Seconds = 10.0

    @field_validator("url")
    @classmethod
    def _plain_address(cls, url: str) -> str:
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError("must be https://HOST/… (http where the network is your own)")
        if address.username is not None or address.fragment:
            raise ValueError("must have no user, password or fragment; requests are signed instead")
        return url


class MqttSettings(Rules):
    """Publish at one broker, QoS 1."""

    host: str
    port: Port | None = None
    """8883, or 1883 without TLS."""
    tls: bool = True
    ca_file: Path | None = None
    username: str | None = None
    password_file: Path | None = None
    client_id: str | None = None
    """`sightline-NAME` unless given; two clients of one id put each other out."""
    topic: Annotated[str, Field(pattern=r"^[^+#\x00$/]+(/[^+#\x00/]+)*$", max_length=200)] = "sightline"
    """Stands before `/LINE/CAMERA/alert`, `/LINE/CAMERA/state` and `/status`."""
    retain: bool = True
    """Whether `state` of each camera is kept by the broker for those who come later."""
    pictures: bool = False
    timeout_seconds: Seconds = 10.0

    @model_validator(mode="after")
    def _no_password_in_clear(self) -> Self:
        if self.password_file and not self.tls:
            raise ValueError("a password needs tls = true")
        return self


class ModbusSettings(Place):
    """Tell a PLC over Modbus TCP, which has no authentication: keep it on a network of its own."""

    host: str
    port: Port = 502
    unit: Annotated[int, Field(ge=0, le=255)] = 1
    on: Literal["alert", "defect"] = "defect"
    """One signal for each part with the verdict defect, or one for each incident that opens."""
    register_: Annotated[int, Field(ge=0, le=65530, alias="register")] = 0
    """First of five holding registers that are written together."""
    acknowledge_register: Annotated[int, Field(ge=0, le=65535)] = 8
    """Holding register into which the PLC copies the number of the signal that it has taken."""
    stations: dict[str, Annotated[int, Field(ge=1, le=65535)]] = {}
    """Camera to the number that the PLC knows it by; other cameras are 0."""
    acknowledge_seconds: Annotated[float, Field(gt=0, le=10)] = 0.3
    """How long one try waits for the acknowledgement."""
    max_age_seconds: Annotated[float, Field(gt=0, le=60)] = 2.0
    """After capture; the part has gone by then, and a late signal would reject another one."""

    @model_validator(mode="after")
    def _registers_apart(self) -> Self:
        if self.register_ <= self.acknowledge_register < self.register_ + 5:
            raise ValueError("acknowledge_register lies among the five that are written; choose another")
        return self


class MailSettings(Rules):
    """Mail by SMTP, as digests."""

    host: str
    port: Port = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    ca_file: Path | None = None
    username: str | None = None
    password_file: Path | None = None
    sender: Annotated[str, Field(pattern=r"^[^\s@<>]+@[^\s@<>]+$")]
    to: Annotated[tuple[Annotated[str, Field(pattern=r"^[^\s@<>,]+@[^\s@<>,]+$")], ...], Field(min_length=1)]
    every_minutes: Annotated[float, Field(gt=0, le=24 * 60)] = 15.0
    """At most one mail of a line in this time; the first incident after a quiet time is told at once."""
    pictures: Annotated[int, Field(ge=0, le=20)] = 4
    """Most thumbnails of one mail."""
    timeout_seconds: Seconds = 30.0

    @model_validator(mode="after")
    def _no_password_in_clear(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file belong together; set both or neither")
        if self.username and self.security == "none":
            raise ValueError('a password needs security = "starttls" or "tls"')
        return self


class NotifySettings(Section):
    """The receivers, and what may wait for them."""

    section: ClassVar[str] = "notify"

    folder: Path = Field(default_factory=lambda: run_folder() / "notify")
    """Of the outbox."""
    most_waiting: Annotated[int, Field(ge=10, le=1_000_000)] = 5000
    """Alerts that may wait for one receiver, some 20 kB each."""
    give_up_hours: Annotated[float, Field(gt=0, le=24 * 30)] = 24.0
    """After this long an alert is given up, counted and logged."""
    webhook: dict[str, WebhookSettings] = Field(default_factory=dict)
    mqtt: dict[str, MqttSettings] = Field(default_factory=dict)
    modbus: dict[str, ModbusSettings] = Field(default_factory=dict)
    mail: dict[str, MailSettings] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _distinct_names(self) -> Self:
        names = [name for kind in (self.webhook, self.mqtt, self.modbus, self.mail) for name in kind]
        for name in names:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot name a receiver: up to 32 of a-z 0-9 _ -")
            if names.count(name) > 1:
                raise ValueError(f"two receivers are named {name!r}; give each a name of its own")
        return self

    @property
    def rules(self) -> dict[str, Rules]:
        """Name to rules, for every receiver that alerts may wait for."""
        return {**self.webhook, **self.mqtt, **self.mail}

    @property
    def in_clear(self) -> dict[str, str]:
        """Name to the setting that mends it, for every receiver beyond this machine that gets alerts without TLS."""
        webhooks = [name for name, one in self.webhook.items() if _crosses_in_clear(one.url)]
        brokers = [name for name, one in self.mqtt.items() if not (one.tls or is_loopback(one.host))]
        servers = [name for name, one in self.mail.items() if one.security == "none" and not is_loopback(one.host)]
        return {
            **dict.fromkeys(webhooks, 'url = "https://…"'),
            **dict.fromkeys(brokers, "tls = true"),
            **dict.fromkeys(servers, 'security = "starttls"'),
        }

    @classmethod
    def _explain(cls, fault: ErrorDetails) -> str:
        # an address may have a token in its path, and the input of a rule on a whole table is all of the table
        keys = fault["loc"]
        if not keys or str(keys[-1]) == "url" or not isinstance(fault["input"], str | int | float):
            fault = {**fault, "input": "…"}
        return super()._explain(fault)


def _crosses_in_clear(url: str) -> bool:
    address = urlsplit(url)
    return address.scheme == "http" and not is_loopback(address.hostname or "")


def read_secret(path: Path, what: str) -> str:
    """The first line of `path`; raises SettingsError naming the file, never what stands in it."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise SettingsError(f"{what} cannot be read from {str(path)!r}: {why}; create the file, mode 600") from None
    if not text:
        raise SettingsError(f"{str(path)!r} is empty; write {what} into it")
    return text
