"""Topics on a real broker: created once with the planned settings, checked ever after."""

from __future__ import annotations

import time
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from infra.ports import free_port
from infra.topics import TopicSettings, ensure_topics, plan
from sightline.errors import BrokerError
from sightline.settings import KafkaSettings


@pytest.fixture
def fresh(broker: KafkaSettings) -> KafkaSettings:
    """A deployment without topics."""
    return KafkaSettings.load(bootstrap=broker.bootstrap, topic_prefix=f"n{uuid4().hex[:8]}.")


def test_topics_are_created_once_with_the_planned_settings(fresh: KafkaSettings) -> None:
    first = ensure_topics(fresh)
    assert len(first.created) == len(plan(fresh, TopicSettings.load()))
    second = ensure_topics(fresh)
    assert (second.created, second.present) == ((), first.created)

    admin = AdminClient(fresh.librdkafka())
    for topic in plan(fresh, TopicSettings.load()):
        resource = ConfigResource(ResourceType.TOPIC, topic.name)
        found = admin.describe_configs([resource])[resource].result()
        assert {key: found[key].value for key in topic.config} == topic.config


def test_a_topic_that_does_not_fit_is_reported_and_nothing_is_created(fresh: KafkaSettings) -> None:
    admin = AdminClient(fresh.librdkafka())
    small = NewTopic(fresh.topics.frames, num_partitions=5, config={"max.message.bytes": "1000000"})
    admin.create_topics([small])[fresh.topics.frames].result()
    # the broker that is asked next hears of a new topic a moment after it was made
    while fresh.topics.frames not in admin.list_topics(timeout=5).topics:
        time.sleep(0.1)

    with pytest.raises(BrokerError) as caught:
        ensure_topics(fresh)

    message = str(caught.value)
    assert f"{fresh.topics.frames} has 5 partitions, not 2" in message
    assert "max.message.bytes = 1000000" in message
    assert "message.timestamp.type = CreateTime, not LogAppendTime" in message
    assert fresh.topics.alerts not in admin.list_topics(timeout=5).topics


def test_a_broker_that_is_not_there_is_named() -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(BrokerError, match=f"no Kafka broker answers at {address} .* `sightline broker`"):
        ensure_topics(KafkaSettings.load(bootstrap=address))
