"""The process `sightline notify`: alerts from the topic to the receivers of `[notify.*]`."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass

from console.mutes import MuteFollower
from console.notify.courier import Courier
from console.notify.metrics import OutboxMetrics
from console.notify.modbus import ModbusPort
from console.notify.outbox import Outbox
from console.notify.readers import AlertReader, DefectReader
from console.notify.receivers import open_sinks
from console.notify.reject import RejectLine
from console.notify.settings import NotifySettings
from sightline import logs
from sightline.errors import SettingsError
from sightline.metrics import MetricsServer, new_registry
from sightline.settings import KafkaSettings

log = logging.getLogger(__name__)

Run = Callable[[threading.Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifier:
    """The parts of one process: `readers` block and have threads, `couriers` and `lines` share the event loop."""

    outbox: Outbox
    couriers: list[Courier]
    lines: list[RejectLine]
    readers: dict[str, Run]


def wire(settings: NotifySettings, kafka: KafkaSettings, mutes: MuteFollower) -> Notifier:
    """All parts; raises SettingsError where a secret cannot be read, PrerequisiteError where the outbox cannot be used.

    Neither the broker nor a receiver is asked anything.
    """
    if not (settings.rules or settings.modbus):
        raise SettingsError(
            "no receiver is configured: add [notify.webhook.NAME], [notify.mqtt.NAME], [notify.mail.NAME] or "
            "[notify.modbus.NAME] to sightline.toml, as docs/alerts-out.md shows"
        )
    for name, remedy in settings.in_clear.items():
        log.warning("alerts cross the network in clear", extra={"sink": name, "remedy": remedy})
    outbox = Outbox(settings.folder, settings.most_waiting)
    sinks = open_sinks(settings, outbox.overtaken)
    couriers = [Courier(name, sink, outbox, give_up_hours=settings.give_up_hours) for name, sink in sinks.items()]
    lines = [RejectLine(name, one, ModbusPort(one), outbox) for name, one in settings.modbus.items()]
    readers: dict[str, Run] = {"alerts": AlertReader(kafka, outbox, settings.rules, lines, mutes).run}
    if any(line.settings.on == "defect" for line in lines):
        readers["verdicts"] = DefectReader(kafka, lines).run
    return Notifier(outbox=outbox, couriers=couriers, lines=lines, readers=readers)


async def carry(notifier: Notifier, stop: threading.Event) -> None:
    """Run all parts until `stop` is set."""
    runs = [*(courier.run() for courier in notifier.couriers), *(line.run() for line in notifier.lines)]
    tasks = [asyncio.create_task(run) for run in runs]
    # the lines must know their loop before a reader offers them anything
    await asyncio.sleep(0)
    threads = [
        threading.Thread(target=run, args=(stop,), name=name, daemon=True) for name, run in notifier.readers.items()
    ]
    for thread in threads:
        thread.start()
    try:
        while not stop.is_set() and all(thread.is_alive() for thread in threads):
            if broken := [task for task in tasks if task.done()]:
                broken[0].result()
            await asyncio.sleep(0.2)
    finally:
        stop.set()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        notifier.outbox.close()


def main() -> None:
    """Run until SIGTERM or Ctrl-C."""
    logs.configure("notify")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    kafka = KafkaSettings.load().for_role("operator")
    mutes = MuteFollower(kafka)
    notifier = wire(NotifySettings.load(), kafka, mutes)
    registry = new_registry("notify")
    OutboxMetrics(registry, notifier.outbox.states)
    mutes.start()
    with MetricsServer("notify", registry):
        asyncio.run(carry(notifier, stop))
    mutes.stop()
    log.info("stopped")
