"""Reject signals, against a real Modbus server that acts as a PLC."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from console.notify.modbus import ModbusPort
from console.notify.outbox import Outbox, SinkState
from console.notify.reject import Reason, RejectLine, Signal
from console.notify.settings import ModbusSettings
from sightline import samples
from sightline.contracts import Alert, AlertState, Severity
from sightline.errors import DeliveryError

ACKNOWLEDGE = 8
WRITE_MANY = 16


@dataclass
class Plc:
    """Acknowledges each new number, unless it is `deaf`, or only every second time it is written; notes what it did."""

    port: int
    last: int = 0
    deaf: bool = False
    forgetful: bool = False
    written: list[list[int]] = field(default_factory=list)
    acted: list[list[int]] = field(default_factory=list)

    async def on_access(
        self, function: int, start: int, address: int, count: int, registers: list[int], values: Any
    ) -> ExcCodes | None:
        if function == WRITE_MANY:
            self.written.append(list(values))
            if values[0] != self.last:
                self.acted.append(list(values))
                self.last = values[0]
            if not self.deaf and not (self.forgetful and len(self.written) % 2):
                registers[ACKNOWLEDGE] = self.last
        return None


@asynccontextmanager
async def plc(last: int = 0) -> AsyncIterator[Plc]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Plc(listener.getsockname()[1], last)
    values = [0] * 20
    values[ACKNOWLEDGE] = last
    device = SimDevice(1, simdata=[SimData(0, values=values, datatype=DataType.REGISTERS)], action=made.on_access)
    server = ModbusTcpServer(device, address=("127.0.0.1", made.port))
    await server.serve_forever(background=True)
    try:
        yield made
    finally:
        await server.shutdown()


def settings(port: int, **more: Any) -> ModbusSettings:
    return ModbusSettings(host="127.0.0.1", port=port, **({"stations": {"cam-1": 7}, "max_age_seconds": 30.0} | more))


def signal(sequence: int = 0x1_0002_0003, age: float = 0.0, camera: str = "cam-1") -> Signal:
    captured = datetime.now(UTC) - timedelta(seconds=age)
    return Signal(Reason.DEFECT, "line-a", camera, "bottle_cap", sequence, captured)


def test_a_signal_is_five_registers_and_counts_once_it_is_acknowledged() -> None:
    async def run() -> None:
        async with plc() as device:
            port = ModbusPort(settings(device.port))
            await port.tell(signal())
            await port.tell(signal(camera="cam-9"))
            await port.close()
            assert device.acted == [[1, 1, 7, 2, 3], [2, 1, 0, 2, 3]]

    asyncio.run(run())


def test_a_new_process_goes_on_behind_the_last_number_and_after_the_largest_comes_one() -> None:
    async def run() -> None:
        async with plc(last=65535) as device:
            port = ModbusPort(settings(device.port))
            await port.tell(signal())
            await port.close()
            assert [values[0] for values in device.acted] == [1]

    asyncio.run(run())


def test_a_repeat_has_the_same_number_so_that_nothing_is_rejected_twice() -> None:
    async def run() -> None:
        async with plc() as device:
            device.forgetful = True
            port, part = ModbusPort(settings(device.port, acknowledge_seconds=0.05)), signal()
            with pytest.raises(DeliveryError, match="not acknowledged"):
                await port.tell(part)
            await port.tell(part)
            await port.close()
            assert len(device.written) == 2
            assert len(device.acted) == 1

    asyncio.run(run())


def test_registers_that_do_not_exist_are_named() -> None:
    async def run() -> None:
        async with plc() as device:
            port = ModbusPort(settings(device.port, acknowledge_register=500))
            with pytest.raises(DeliveryError, match="refuses"):
                await port.tell(signal())
            await port.close()

    asyncio.run(run())


async def operate(outbox: Outbox, one: ModbusSettings, until: Callable[[SinkState], bool], *offers: Any) -> SinkState:
    """Run a line with these signals or alerts until its state is as wanted."""
    line = RejectLine("ejector", one, ModbusPort(one), outbox)
    task = asyncio.create_task(line.run())
    await asyncio.sleep(0)
    for offer in offers:
        if isinstance(offer, Alert):
            line.offer_alert(offer, muted=False)
        else:
            line.offer(offer)
    async with asyncio.timeout(60):
        while not until((outbox.states() or [SinkState("ejector")])[0]):
            await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return outbox.states()[0]


def test_a_plc_that_does_not_acknowledge_is_counted_and_tried_until_the_part_has_gone_by(outbox: Outbox) -> None:
    async def run() -> None:
        async with plc() as device:
            device.deaf = True
            one = settings(device.port, acknowledge_seconds=0.05, max_age_seconds=1.0)
            state = await operate(outbox, one, lambda state: state.late == 1, signal())
            assert (state.sent, state.unanswered > 0) == (0, True)
            assert len(device.acted) == 1

    asyncio.run(run())


def test_a_signal_that_is_too_late_is_never_sent(outbox: Outbox) -> None:
    async def run() -> None:
        async with plc() as device:
            parts = [signal(1, age=31), signal(2)]
            state = await operate(outbox, settings(device.port), lambda state: state.sent == 1, *parts)
            assert state.late == 1
            assert [values[4] for values in device.acted] == [2]

    asyncio.run(run())


class Busy:
    """A PLC that is busy for its first `tries`, each of which takes `seconds` of a made-up time."""

    def __init__(self, tries: int, seconds: float) -> None:
        self.tries, self.seconds, self.now = tries, seconds, 0.0

    async def tell(self, signal: Signal) -> None:
        self.now += self.seconds
        self.tries -= 1
        if self.tries >= 0:
            raise DeliveryError("busy")

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("set_back", [0, 3600], ids=["the camera's clock runs ahead", "this host's clock is set back"])
def test_a_part_of_an_hour_ahead_is_not_rejected_once_it_has_gone_by(outbox: Outbox, set_back: int) -> None:
    async def run() -> None:
        device = Busy(tries=5, seconds=10.0)
        ahead = replace(signal(), captured_at=datetime.now(UTC) + timedelta(seconds=3600 - set_back))
        line = RejectLine(
            "ejector",
            settings(1, max_age_seconds=30.0),
            device,
            outbox,
            clock=lambda: datetime.now(UTC) - timedelta(seconds=set_back),
            elapsed=lambda: device.now,
        )
        task = asyncio.create_task(line.run())
        await asyncio.sleep(0)
        line.offer(ahead)
        async with asyncio.timeout(60):
            while not (outbox.states() and outbox.states()[0].late + outbox.states()[0].sent):
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        (state,) = outbox.states()
        assert (state.sent, state.late, state.unanswered) == (0, 1, 3)

    asyncio.run(run())


def test_no_plc_at_all_is_counted_and_no_end(outbox: Outbox) -> None:
    async def run() -> None:
        one = settings(1, max_age_seconds=0.5)
        state = await operate(outbox, one, lambda state: state.late == 1, signal())
        assert "no PLC answers" in state.last_error or state.unanswered > 0

    asyncio.run(run())


def test_parts_of_other_places_are_no_business_of_this_plc(outbox: Outbox) -> None:
    async def run() -> None:
        async with plc() as device:
            one = settings(device.port, cameras=["cam-1"])
            await operate(outbox, one, lambda state: state.sent == 1, signal(1, camera="cam-2"), signal(2))
            assert [values[4] for values in device.acted] == [2]

    asyncio.run(run())


def test_an_incident_is_told_once_when_it_becomes_severe_enough(outbox: Outbox) -> None:
    now = datetime.now(UTC)
    grown = [
        replace(samples.alert("cam-1", 40, revision=n, state=AlertState.UPDATED), updated_at=now, severity=severity)
        for n, severity in enumerate([Severity.WARNING, Severity.CRITICAL, Severity.CRITICAL])
    ]
    other = replace(samples.alert("cam-1", 90), updated_at=now, severity=Severity.CRITICAL)

    async def run() -> None:
        async with plc() as device:
            one = settings(device.port, on="alert", severities=["critical"])
            await operate(outbox, one, lambda state: state.sent == 2, *grown, other)
            assert [values[1:] for values in device.acted] == [[2, 7, 0, 52], [2, 7, 0, 90]]

    asyncio.run(run())


def test_the_acknowledgement_cannot_lie_among_what_is_written() -> None:
    with pytest.raises(ValidationError, match="choose another"):
        settings(502, register=4)
