"""Hosts that can be cut off, with real connections between them; needs root."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from benchmarks.chaos.hosts import Network
from benchmarks.cluster import Host
from sightline.errors import PrerequisiteError

PORT = 8123
ECHO = """
import socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
while True:
    connection = server.accept()[0]
    connection.sendall(connection.recv(1))
"""


@pytest.fixture
def network() -> Iterator[Network]:
    try:
        with Network(2) as made:
            yield made
    except PrerequisiteError as error:
        pytest.skip(str(error))


def answers(host: Host, timeout: float = 0.5) -> bool:
    try:
        with socket.create_connection((host.address, PORT), timeout) as connection:
            connection.sendall(b"?")
            return connection.recv(1) == b"?"
    except OSError:
        return False


def test_a_host_answers_until_it_is_cut_off_and_again_afterwards_and_its_neighbour_all_the_while(
    network: Network,
) -> None:
    servers = [
        subprocess.Popen([*host.prefix, sys.executable, "-c", ECHO, host.address, str(PORT)]) for host in network.hosts
    ]
    one, other = network.hosts
    try:
        deadline = time.monotonic() + 20
        while not (answers(one) and answers(other)):
            assert time.monotonic() < deadline, "the hosts do not answer"
        with network.cut_off(1):
            assert not answers(one)
            assert answers(other)
        assert answers(one, timeout=10)
    finally:
        for server in servers:
            server.kill()
            server.wait()
