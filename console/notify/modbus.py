"""A PLC over Modbus TCP: registers written at once, and the number of the signal read back."""

from __future__ import annotations

import asyncio
from typing import Any

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from console.notify.reject import Signal
from console.notify.settings import ModbusSettings
from sightline.errors import DeliveryError

_LARGEST = 65535
_LOOK_SECONDS = 0.01
_CONNECT_SECONDS = 2.0


class ModbusPort:
    """Five holding registers from `register`, written by one request: the number of the signal (1 to 65535, then 1
    again), why (`Reason`), the camera's station, and the low 32 bits of the frame's sequence, high word first.

    The PLC acts when the number differs from the last one, then copies it into `acknowledge_register`. A try that is
    not acknowledged is repeated with the same number, so that a PLC which had taken it does not act twice.
    """

    def __init__(self, settings: ModbusSettings) -> None:
        self._settings = settings
        self._client = AsyncModbusTcpClient(
            settings.host, port=settings.port, timeout=_CONNECT_SECONDS, retries=0, reconnect_delay=0
        )
        self._number: int | None = None
        self._current: Signal | None = None

    async def tell(self, signal: Signal) -> None:
        """Returns once the PLC has acknowledged; raises DeliveryError when it has not."""
        settings = self._settings
        try:
            if not self._client.connected and not await self._client.connect():
                raise DeliveryError(f"no PLC answers at {settings.host}:{settings.port}")
            if self._number is None:
                # a new process goes on behind the last signal, or the PLC would take the first for a repeat
                self._number = await self._acknowledged()
            if signal is not self._current:
                self._number, self._current = self._number % _LARGEST + 1, signal
            await self._write(self._number, signal)
            ends = asyncio.get_running_loop().time() + settings.acknowledge_seconds
            while await self._acknowledged() != self._number:
                if asyncio.get_running_loop().time() > ends:
                    raise DeliveryError(
                        f"signal {self._number} was not acknowledged in register {settings.acknowledge_register} "
                        f"within {settings.acknowledge_seconds:g} s"
                    )
                await asyncio.sleep(_LOOK_SECONDS)
        except asyncio.CancelledError:
            # an answer that comes later must not be taken for that of the next request
            self._client.close()
            raise
        except (ModbusException, OSError) as error:
            self._client.close()
            raise DeliveryError(f"the PLC at {settings.host}:{settings.port}: {error}") from error

    async def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    async def _write(self, number: int, signal: Signal) -> None:
        sequence = signal.sequence & 0xFFFFFFFF
        station = self._settings.stations.get(signal.camera, 0)
        values = [number, int(signal.reason), station, sequence >> 16, sequence & 0xFFFF]
        self._require(
            await self._client.write_registers(self._settings.register_, values, device_id=self._settings.unit)
        )

    async def _acknowledged(self) -> int:
        answer = self._require(
            await self._client.read_holding_registers(
                self._settings.acknowledge_register, count=1, device_id=self._settings.unit
            )
        )
        return int(answer.registers[0])

    def _require(self, answer: Any) -> Any:
        if answer.isError():
            raise DeliveryError(
                f"the PLC at {self._settings.host}:{self._settings.port} refuses: {answer}; see register, "
                "acknowledge_register and unit"
            )
        return answer
