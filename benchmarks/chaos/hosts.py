"""Hosts of a network on one machine, any of which can be cut off: network namespaces on a bridge, which need root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

from benchmarks.cluster import Host
from sightline.errors import PrerequisiteError

_PREFIX = "198.18"
"""Addresses that are set aside for benchmarks of networks and routed nowhere (RFC 2544)."""


class Network:
    """`count` hosts that see each other and this machine.

    Raises PrerequisiteError on entry where namespaces cannot be made. Leave it after what runs on its hosts has ended.
    """

    def __init__(self, count: int) -> None:
        # several on one machine differ; a name of an interface has at most 15 letters
        own = os.getpid() % 250
        self._bridge = f"sl{own}"
        self._subnet = f"{_PREFIX}.{own}"
        self._names = [f"{self._bridge}-{number}" for number in range(1, count + 1)]
        self._parts = ExitStack()
        self.hosts = [
            Host(f"{self._subnet}.{number}", ("ip", "netns", "exec", name))
            for number, name in enumerate(self._names, 1)
        ]

    def __enter__(self) -> Self:
        with ExitStack() as parts:
            _ip("link", "add", self._bridge, "type", "bridge")
            parts.callback(_ip, "link", "del", self._bridge)
            _ip("addr", "add", f"{self._subnet}.254/24", "dev", self._bridge)
            _ip("link", "set", self._bridge, "up")
            for name, host in zip(self._names, self.hosts, strict=True):
                _ip("netns", "add", name)
                parts.callback(_ip, "netns", "del", name)
                _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
                _ip("link", "set", name, "master", self._bridge, "up")
                _ip("-n", name, "addr", "add", f"{host.address}/24", "dev", "eth0")
                for device in ("eth0", "lo"):
                    _ip("-n", name, "link", "set", device, "up")
            self._parts = parts.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parts.close()

    @contextmanager
    def cut_off(self, number: int) -> Iterator[None]:
        """The host with this number, from 1 on, hears and reaches nobody; its connections do not end."""
        name = self._names[number - 1]
        _ip("link", "set", name, "down")
        try:
            yield
        finally:
            _ip("link", "set", name, "up")


def _ip(*words: str) -> None:
    try:
        subprocess.run(["ip", *words], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise PrerequisiteError("there is no `ip`; install iproute2 (Debian: apt-get install iproute2)") from None
    except subprocess.CalledProcessError as error:
        raise PrerequisiteError(f"`ip {' '.join(words)}` failed ({error.stderr.strip()}); run as root") from error
