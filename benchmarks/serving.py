"""`POST /v1/inspect` under many clients at once, held against the bare runtime on the same pictures.

The clients are threads of one process of their own; what they take of the cores counts against the server, as it does
for the broker in `benchmarks.pipeline`.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from contextlib import closing
from http.client import HTTPConnection
from multiprocessing.connection import Connection
from pathlib import Path

import httpx2
from rich.console import Console

from benchmarks.bare import BareRuntime
from benchmarks.line import PRODUCT
from benchmarks.measured import Part, Series, percentiles, ratio
from benchmarks.pictures import Pictures
from console.api.keys import PREFIX
from infra import ports
from infra.processes import ManagedProcess
from sightline.errors import SightlineError

CLIENTS = 32
START_SECONDS = 60.0


def measure(
    folder: Path, bundle: Path, pictures: Pictures, console: Console, *, rounds: int = 5, seconds: float = 10.0,
    processes: int = 2,
) -> Part:  # fmt: skip
    """Pictures/s through the API and through the bare runtime, in turns; and how soon and how large the API is."""
    part = Part(f"serving, {CLIENTS} clients, {pictures.width} × {pictures.height}")
    port = ports.free_port("127.0.0.1")
    environment = {"SIGHTLINE_RUN": str(folder), "SIGHTLINE_API_PORT": str(port)}
    environment |= {"SIGHTLINE_API_REQUESTS_A_MINUTE": "1000000"}
    key = _key({**os.environ, **environment})
    server = ManagedProcess("serve", "console", ["serve"], environment=environment, log_folder=folder / "logs")
    address = f"http://127.0.0.1:{port}"
    began = time.perf_counter()
    server.start()
    try:
        _wait(address, server)
        part.add("start to first answer", time.perf_counter() - began, "s", most=5)
        part.add("memory at rest", server.sample_memory() / 1e6, "MB", most=300)
        bare, served, delays = [], [], []
        with BareRuntime(bundle, pictures, processes) as runtime, _Clients(address, key, pictures) as clients:
            clients.run(5)
            for number in range(rounds):
                bare.append(runtime.rate(seconds))
                rate, times, faults = clients.run(seconds)
                served.append(rate)
                delays += times
                part.faults += faults
                console.log(f"round {number}: bare {bare[-1]:.1f}, served {rate:.1f} pictures/s")
        part.add("memory after", server.sample_memory() / 1e6, "MB", most=300)
    finally:
        server.stop()
    part.add("bare runtime", Series(tuple(bare)), "pictures/s")
    part.add("served", Series(tuple(served)), "pictures/s")
    part.add("served over bare runtime", ratio(Series(tuple(served)), Series(tuple(bare))), "×", least=0.7)
    for name, value in percentiles(delays).items():
        part.add(f"answer {name}", value, "ms")
    return part


def _key(environment: dict[str, str]) -> str:
    """A new API key; it is printed once, on a line of its own."""
    command = [sys.executable, "-m", "console", "keys", "create", f"bench-{time.time_ns()}", "--role", "operator"]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise SightlineError(f"no API key could be made:\n{answer.stderr[-1000:]}")
    return next(word for word in answer.stdout.split() if word.startswith(PREFIX))


def _wait(address: str, server: ManagedProcess) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.running:
        try:
            if httpx2.get(f"{address}/v1/health/live", timeout=1).status_code == 200:
                return
        except httpx2.HTTPError:
            time.sleep(0.05)
    raise SightlineError(f"the API did not come up; see {server.log_file}")


class _Clients:
    """The process of all clients."""

    def __init__(self, address: str, key: str, pictures: Pictures) -> None:
        context = multiprocessing.get_context("spawn")
        self._end, theirs = context.Pipe()
        self._process = context.Process(target=_ask, args=(theirs, address, key, pictures), daemon=True)

    def __enter__(self) -> _Clients:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.send(None)
        self._process.join()

    def run(self, seconds: float) -> tuple[float, list[float], list[str]]:
        """Answers/s over `seconds`, how long each took in ms, and what went wrong."""
        self._end.send(seconds)
        found: tuple[float, list[float], list[str]] = self._end.recv()
        return found


def _ask(end: Connection, address: str, key: str, pictures: Pictures) -> None:
    """A connection for each client, kept open; the standard library's, since what clients take the server has not."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "image/jpeg"}
    host = address.removeprefix("http://")
    path = f"/v1/inspect?product={PRODUCT}"
    while (seconds := end.recv()) is not None:
        times: list[float] = []
        faults: list[str] = []
        turns = itertools.cycle(pictures.jpegs)
        stop = time.perf_counter() + seconds

        def ask(
            stop: float = stop, turns: itertools.cycle[bytes] = turns,
            times: list[float] = times, faults: list[str] = faults,
        ) -> None:  # fmt: skip
            with closing(HTTPConnection(host, timeout=60)) as connection:
                while (began := time.perf_counter()) < stop:
                    connection.request("POST", path, next(turns), headers)
                    answer = connection.getresponse()
                    body = answer.read()
                    if answer.status != 200:
                        faults.append(f"{answer.status}: {body[:200]!r}")
                        return
                    times.append(1000 * (time.perf_counter() - began))

        began = time.perf_counter()
        threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        end.send((len(times) / (time.perf_counter() - began), times, faults))
