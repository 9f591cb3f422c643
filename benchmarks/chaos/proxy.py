"""A TCP proxy between the line and its broker that does what networks do: wait, reset, fall silent, lose answers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading

_AT_ONCE = struct.pack("ii", 1, 0)
_CHUNK = 64 * 1024


class FaultyProxy:
    """Listens on a free port of `host` and passes everything on to `upstream`, until `close`.

    `delay` is in seconds, one way, for each piece that passes.
    """

    def __init__(self, host: str, upstream: int) -> None:
        self.host = host
        self.delay = 0.0
        self._upstream = upstream
        self._passing = asyncio.Event()
        self._passing.set()
        self._closing = asyncio.Event()
        self._answers_lost = False
        self._connections: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    def hold(self) -> None:
        """Half open: no byte passes and no connection ends, as behind a cable that was pulled."""
        self._loop.call_soon_threadsafe(self._passing.clear)

    def release(self) -> None:
        self._loop.call_soon_threadsafe(self._passing.set)

    def lose_answers(self) -> None:
        """What clients send arrives; what the broker answers does not, until `reset`."""
        self._answers_lost = True

    def reset(self) -> None:
        """End every connection with a reset."""
        self._answers_lost = False
        self._loop.call_soon_threadsafe(self._reset)

    def close(self) -> None:
        """End what passes and listen no more."""
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._until_closed())
        finally:
            self._loop.close()

    async def _until_closed(self) -> None:
        async with await asyncio.start_server(self._serve, sock=self._listener):
            await self._closing.wait()
            self._reset()
            passing = asyncio.all_tasks() - {asyncio.current_task()}
            for task in passing:
                task.cancel()
            await asyncio.gather(*passing, return_exceptions=True)

    def _reset(self) -> None:
        for writer in list(self._connections):
            raw = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, requests = await asyncio.open_connection(self.host, self._upstream)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, requests}
        self._connections |= both
        try:
            await asyncio.gather(self._pump(reader, requests, answer=False), self._pump(answers, writer, answer=True))
        finally:
            self._connections -= both
            for one in both:
                one.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(_CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._passing.wait()
                if answer and self._answers_lost:
                    continue
                sink.write(data)
                await sink.drain()
        sink.close()
