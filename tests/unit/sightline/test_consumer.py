"""What is said when nothing, or something else than Kafka, is at the address."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from sightline.consumer import open_consumer
from sightline.errors import BrokerError, SettingsError
from sightline.settings import KafkaSettings
from sightline.subscriber import AlertSubscriber


@pytest.fixture
def stranger() -> Iterator[str]:
    """Something that accepts connections and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=10)


def test_nothing_at_the_address_is_said_with_the_remedy() -> None:
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1 .*SIGHTLINE_KAFKA_BOOTSTRAP"):
        AlertSubscriber(KafkaSettings(bootstrap="127.0.0.1:1"))


def test_an_address_without_a_port_is_a_wrong_setting() -> None:
    with pytest.raises(SettingsError, match="HOST:PORT"):
        open_consumer(KafkaSettings(bootstrap="kafka"), connect_seconds=1)


def test_something_else_than_kafka_is_told_apart_and_leaves_no_thread(stranger: str) -> None:
    before = threading.active_count()
    with pytest.raises(BrokerError, match="does not answer as a Kafka broker"):
        open_consumer(KafkaSettings(bootstrap=stranger), connect_seconds=1)
    assert threading.active_count() <= before
