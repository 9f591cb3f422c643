"""The embedded broker's own authority: clients trust it for its host alone, and files are for their owner alone."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer

from infra.certificates import Authority, Identity
from sightline.kafka_refusal import Hearsay, refusal
from sightline.settings import KafkaSettings


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    found = Authority(tmp_path / "security")
    found.ensure()
    return found


def test_it_is_made_once_and_its_files_are_private(authority: Authority, tmp_path: Path) -> None:
    first = authority.issue(tmp_path / "security" / "broker", "broker", ["127.0.0.1"])
    before = first.certificate.read_bytes()
    authority.ensure()
    assert authority.issue(tmp_path / "security" / "broker", "broker", ["127.0.0.1"]).certificate.read_bytes() == before
    authority.issue(tmp_path / "security" / "broker", "broker", ["plant.example"])
    assert first.certificate.read_bytes() != before
    for path in (tmp_path / "security").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_another_authority_s_certificate_is_replaced(authority: Authority, tmp_path: Path) -> None:
    identity = authority.issue(tmp_path / "camera", "camera")
    before = identity.certificate.read_bytes()
    other = Authority(tmp_path / "other")
    other.ensure()
    other.issue(tmp_path / "camera", "camera")
    assert identity.certificate.read_bytes() != before


@pytest.mark.parametrize("host", ["127.0.0.1", "other.example"])
def test_a_client_goes_no_further_than_a_certificate_for_another_host(
    authority: Authority, tmp_path: Path, host: str
) -> None:
    with TlsServer(authority.issue(tmp_path / "server", "broker", [host])) as server:
        kafka = KafkaSettings.load(
            bootstrap=f"127.0.0.1:{server.port}", security_protocol="SSL", ca_file=authority.certificate_file
        )
        heard = Hearsay()
        client = Producer(kafka.librdkafka(error_cb=heard, log_level=0))
        with pytest.raises(KafkaException) as caught:
            client.list_topics(timeout=3)
        client.poll(0.2)
        told = refusal(kafka, caught.value, heard=heard)
    # the server speaks no Kafka: who trusts it gets as far as the handshake, and then no answer
    assert (told is None) == (host == "127.0.0.1")
    assert bool(server.handshakes) == (host == "127.0.0.1")


class TlsServer:
    """Takes connections, and counts the handshakes that a client saw through to its first words."""

    def __init__(self, identity: Identity) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(identity.both)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self.port = self._socket.getsockname()[1]
        self.handshakes = 0
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> TlsServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._halt.set()
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._halt.is_set():
            try:
                plain, _ = self._socket.accept()
                plain.settimeout(1)
                with self._context.wrap_socket(plain, server_side=True) as secured:
                    self.handshakes += bool(secured.recv(1))
            except OSError:
                continue
