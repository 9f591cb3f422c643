"""How far a consumer group is behind a topic."""

from __future__ import annotations

import logging

from confluent_kafka import Consumer, TopicPartition

from sightline.settings import KafkaSettings

log = logging.getLogger(__name__)

ANSWER_SECONDS = 10.0


def behind(kafka: KafkaSettings, group: str, topic: str) -> int:
    """Records of `topic` that `group` has not committed yet."""
    consumer = Consumer(kafka.librdkafka(**{"group.id": group, "enable.auto.commit": False}), logger=log)
    try:
        partitions = consumer.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic].partitions
        committed = consumer.committed([TopicPartition(topic, number) for number in partitions], ANSWER_SECONDS)
        lag = 0
        for position in committed:
            low, end = consumer.get_watermark_offsets(TopicPartition(topic, position.partition), ANSWER_SECONDS)
            lag += max(0, end - max(low, position.offset))
        return lag
    finally:
        consumer.close()
