"""`sightline notify test`: one made-up alert to one receiver."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime

from console.notify.modbus import ModbusPort
from console.notify.receivers import open_sinks
from console.notify.reject import Reason, Signal
from console.notify.settings import NotifySettings
from sightline import samples
from sightline.codec import digest_id
from sightline.contracts import Alert
from sightline.errors import DeliveryError, SettingsError

PLACE = "sightline-test"
"""Line, camera and product of what is sent."""


def run(settings: NotifySettings, name: str) -> float:
    """Seconds that it took; raises SettingsError for an unknown name, DeliveryError when it was not taken."""
    if name not in settings.rules and name not in settings.modbus:
        known = ", ".join(sorted({*settings.rules, *settings.modbus})) or "none"
        raise SettingsError(f"no receiver is named {name!r}; sightline.toml has {known}")
    started = time.monotonic()
    try:
        asyncio.run(_signal(settings, name) if name in settings.modbus else _alert(settings, name))
    except TimeoutError:
        raise DeliveryError(f"{name} did not answer in {time.monotonic() - started:.0f} s") from None
    return time.monotonic() - started


def sample() -> Alert:
    """An alert of now, with a picture."""
    now = datetime.now(UTC)
    made_up = samples.alert(PLACE)
    return replace(made_up, alert_id=digest_id(PLACE, now), line=PLACE, product=PLACE, opened_at=now, updated_at=now)


async def _alert(settings: NotifySettings, name: str) -> None:
    # one file may be missing its secret while another receiver is tried
    alone = settings.model_copy(
        update={kind: _only(getattr(settings, kind), name) for kind in ("webhook", "mqtt", "mail")}
    )
    sink = open_sinks(alone)[name]
    await sink.open()
    try:
        async with asyncio.timeout(sink.seconds):
            await sink.send([sample()])
    finally:
        await sink.close()


async def _signal(settings: NotifySettings, name: str) -> None:
    port = ModbusPort(settings.modbus[name])
    try:
        async with asyncio.timeout(10 + settings.modbus[name].acknowledge_seconds):
            await port.tell(Signal(Reason.TEST, PLACE, PLACE, PLACE, 0, datetime.now(UTC)))
    finally:
        await port.close()


def _only(receivers: dict[str, object], name: str) -> dict[str, object]:
    return {name: receivers[name]} if name in receivers else {}
