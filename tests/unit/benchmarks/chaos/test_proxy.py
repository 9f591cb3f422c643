from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from benchmarks.chaos.proxy import FaultyProxy


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(client,), daemon=True).start()

    def answer(client: socket.socket) -> None:
        with client:
            try:
                while data := client.recv(1000):
                    client.sendall(data)
            except OSError:
                return

    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.close()


@pytest.fixture
def proxy(echo: int) -> Iterator[FaultyProxy]:
    running = FaultyProxy("127.0.0.1", echo)
    yield running
    running.close()


@pytest.fixture
def client(proxy: FaultyProxy) -> Iterator[socket.socket]:
    with socket.create_connection((proxy.host, proxy.port), timeout=30) as connected:
        connected.sendall(b"hello")
        assert connected.recv(5) == b"hello"
        yield connected


def test_a_reset_ends_the_connection_and_the_next_one_works(proxy: FaultyProxy, client: socket.socket) -> None:
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(5)
    with socket.create_connection((proxy.host, proxy.port), timeout=30) as again:
        again.sendall(b"again")
        assert again.recv(5) == b"again"


def test_a_held_connection_stays_open_and_goes_on_when_it_is_released(
    proxy: FaultyProxy, client: socket.socket
) -> None:
    proxy.hold()
    client.settimeout(0.3)
    client.sendall(b"later")
    with pytest.raises(TimeoutError):
        client.recv(5)
    proxy.release()
    client.settimeout(30)
    assert client.recv(5) == b"later"


def test_lost_answers_are_not_made_up_for(proxy: FaultyProxy, client: socket.socket) -> None:
    proxy.lose_answers()
    client.settimeout(0.3)
    client.sendall(b"heard")
    with pytest.raises(TimeoutError):
        client.recv(5)
