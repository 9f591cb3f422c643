"""The real parts, started once for all integration tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from infra.broker import BrokerSettings, EmbeddedBroker
from infra.spark import SparkSettings, build_session
from infra.topics import ensure_topics
from sightline.settings import KafkaSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def broker(run_folder: Path) -> Iterator[KafkaSettings]:
    """A real Kafka on free ports, without topics."""
    settings = BrokerSettings.load(folder=run_folder / "kafka", heap="384m", free_disk_mb=500, start_seconds=300)
    with EmbeddedBroker(settings) as running:
        yield KafkaSettings.load(bootstrap=running.bootstrap)


@pytest.fixture
def kafka(broker: KafkaSettings) -> KafkaSettings:
    """All topics of Sightline, empty, under a prefix of this test's own."""
    settings = KafkaSettings.load(bootstrap=broker.bootstrap, topic_prefix=f"t{uuid4().hex[:8]}.")
    ensure_topics(settings)
    return settings


@pytest.fixture(scope="session")
def spark(run_folder: Path) -> Iterator[SparkSession]:
    """One session for all tests: starting one takes seconds."""
    session = build_session("sightline-tests", SparkSettings.load(folder=run_folder / "spark"))
    yield session
    session.stop()
