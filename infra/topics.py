"""The topics, each with settings that were chosen for what it carries; created once, and checked ever after."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType
from pydantic import Field

from sightline.errors import BrokerError
from sightline.kafka_refusal import Hearsay, refusal
from sightline.settings import MAX_MESSAGE_BYTES, KafkaSettings, Section

_MIB = 1024 * 1024
_HOUR_MS = 60 * 60 * 1000
ADDED_BYTES = 64 * 1024
"""What a dead letter or an archived frame may have more than the record it was made from: its further headers."""
_ANSWER_SECONDS = 5.0
_log = logging.getLogger(__name__)

Mebibytes = Annotated[int, Field(ge=16)]
Hours = Annotated[int, Field(ge=1)]


class TopicSettings(Section):
    """How long the topics remember. Sizes are for each partition; whichever bound comes first wins.

    With two partitions the defaults let frames, archive and dead letters take at most 10.5 GiB of disk, events 2.5 GiB.
    """

    section: ClassVar[str] = "topics"

    frames_hours: Hours = 6
    """Time to repair a stopped score query; what is worth keeping is archived. A busy line meets the next bound first:
    four cameras at ten frames a second of 100 kB fill it in half an hour."""
    frames_mb: Mebibytes = 4096
    archive_hours: Hours = 48
    """History drains it within a minute; two days bridge an outage of the table store over a weekend."""
    archive_mb: Mebibytes = 1024
    dead_letter_hours: Hours = 24 * 7
    dead_letter_mb: Mebibytes = 256
    events_hours: Hours = 24 * 30
    """Inspections, also by challengers, alerts, operators' actions and camera events: small, and worth replaying."""
    events_mb: Mebibytes = 256


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """One topic as it should be: its name, partitions and the broker's configuration keys."""

    name: str
    partitions: int
    config: Mapping[str, str]

    @property
    def kept(self) -> str:
        """How long records stay, for people."""
        if "delete" not in self.config["cleanup.policy"]:
            return "newest by key"
        hours, mebibytes = int(self.config["retention.ms"]) // _HOUR_MS, int(self.config["retention.bytes"]) // _MIB
        return f"{hours} h, {mebibytes} MiB"


@dataclass(frozen=True, slots=True)
class TopicReport:
    """What `ensure_topics` did: names created, names that were there already."""

    created: tuple[str, ...]
    present: tuple[str, ...]


_MUST_MATCH = ("cleanup.policy", "message.timestamp.type")
"""Keys that the pipeline relies on, beside the partitions and the message size; retention is the owner's choice."""


def plan(kafka: KafkaSettings, kept: TopicSettings) -> list[TopicPlan]:
    """Every topic of a deployment.

    Topics keyed by camera have the same number of partitions, so that one camera's frames, inspections and alerts lie
    in partitions of the same number, each in order.
    """
    names, count = kafka.topics, kafka.partitions
    # the broker's clock: latency is told from it, and a camera with a wrong clock cannot defeat retention by time
    broker_time = {"message.timestamp.type": "LogAppendTime"}
    events = _kept(kept.events_hours, kept.events_mb)
    larger = {"max.message.bytes": str(MAX_MESSAGE_BYTES + ADDED_BYTES)}
    return [
        _plan(names.frames, count, kafka, _kept(kept.frames_hours, kept.frames_mb), broker_time),
        # the largest frame fits with what is added to it, or one record would stop the score query for good
        _plan(names.dead_letters, count, kafka, _kept(kept.dead_letter_hours, kept.dead_letter_mb), larger),
        # outlives the dead letters that it speaks of
        _plan(names.replays, count, kafka, events),
        _plan(names.archive, count, kafka, _kept(kept.archive_hours, kept.archive_mb), larger),
        _plan(names.inspections, count, kafka, events, broker_time),
        _plan(names.shadow, count, kafka, events),
        # the newest state of each alert survives compaction; an old alert goes with retention
        _plan(names.alerts, count, kafka, events | _compacted("compact,delete")),
        # one record per camera is the whole truth of the fold: never deleted by age
        _plan(names.alert_state, count, kafka, _compacted("compact")),
        _plan(names.operator_actions, count, kafka, events),
        _plan(names.camera_events, count, kafka, events),
    ]


def _plan(name: str, partitions: int, kafka: KafkaSettings, *parts: Mapping[str, str]) -> TopicPlan:
    config = {
        "cleanup.policy": "delete",
        "max.message.bytes": str(MAX_MESSAGE_BYTES),
        # JPEG does not shrink, and events come compressed by their producer: the broker stores what it got
        "compression.type": "producer",
        # one replica may be down without stopping the line, and none with a single broker
        "min.insync.replicas": str(max(1, kafka.replication - 1)),
    }
    for part in parts:
        config.update(part)
    return TopicPlan(name, partitions, config)


def _kept(hours: int, mebibytes: int) -> dict[str, str]:
    return {
        "retention.ms": str(hours * _HOUR_MS),
        "retention.bytes": str(mebibytes * _MIB),
        # retention drops whole segments and never the one being written: small ones keep the bound true
        "segment.bytes": str(max(16, mebibytes // 8) * _MIB),
        "segment.ms": str(max(1, hours // 8) * _HOUR_MS),
    }


def _compacted(policy: str) -> dict[str, str]:
    return {
        "cleanup.policy": policy,
        # compaction leaves the segment being written alone: small, young segments keep a restart's replay short
        "segment.bytes": str(16 * _MIB),
        "segment.ms": str(_HOUR_MS),
        "min.cleanable.dirty.ratio": "0.1",
    }


def ensure_topics(kafka: KafkaSettings | None = None, kept: TopicSettings | None = None) -> TopicReport:
    """Create the topics that are missing and check those that exist; may be called any number of times.

    Raises BrokerError naming the address when no broker answers within seconds, and naming topic, setting, value and
    remedy when an existing topic would break the pipeline.
    """
    kafka = kafka or KafkaSettings.load().for_role("admin")
    heard = Hearsay()
    admin = AdminClient(kafka.librdkafka(log_level=0, error_cb=heard))
    missing, present = _compared(admin, kafka, kept or TopicSettings.load(), heard)
    _create(admin, missing, kafka)
    return TopicReport(tuple(topic.name for topic in missing), tuple(topic.name for topic in present))


def check_topics(kafka: KafkaSettings, kept: TopicSettings) -> tuple[list[str], int]:
    """Names of the topics that are missing, and how many there are; raises BrokerError as `ensure_topics` does."""
    heard = Hearsay()
    admin = AdminClient(kafka.librdkafka(log_level=0, error_cb=heard))
    missing, present = _compared(admin, kafka, kept, heard)
    return [topic.name for topic in missing], len(present)


def _compared(
    admin: AdminClient, kafka: KafkaSettings, kept: TopicSettings, heard: Hearsay
) -> tuple[list[TopicPlan], list[TopicPlan]]:
    """Missing topics and those that are there, with settings that fit."""
    wanted = plan(kafka, kept)
    existing = _partitions(admin, kafka, heard)
    missing = [topic for topic in wanted if topic.name not in existing]
    present = [topic for topic in wanted if topic.name in existing]
    faults = differences(present, existing, _configs(admin, present, kafka), kafka)
    if faults:
        raise BrokerError(f"topics at {kafka.bootstrap} have settings that do not fit:\n" + "\n".join(faults))
    return missing, present


def differences(
    present: Sequence[TopicPlan],
    partitions: Mapping[str, int],
    configs: Mapping[str, Mapping[str, str]],
    kafka: KafkaSettings,
) -> list[str]:
    """A line for each setting of an existing topic that would break the pipeline, with the remedy."""
    alter = f"kafka-configs.sh --bootstrap-server {kafka.bootstrap} --alter --entity-type topics --entity-name"
    faults = []
    for topic in present:
        found, has = configs[topic.name], partitions[topic.name]
        if has != topic.partitions:
            faults.append(
                f"{topic.name} has {has} partitions, not {topic.partitions}: set [kafka] partitions = {has} if all "
                "topics have as many, or delete the topic and create it again"
            )
        largest = topic.config["max.message.bytes"]
        if int(found["max.message.bytes"]) < int(largest):
            faults.append(
                f"{topic.name} has max.message.bytes = {found['max.message.bytes']}, and its records may have "
                f"{largest}: {alter} {topic.name} --add-config max.message.bytes={largest}"
            )
        for key in _MUST_MATCH:
            want = topic.config.get(key)
            if want and set(found[key].split(",")) != set(want.split(",")):
                remedy = f"{alter} {topic.name} --add-config {key}=[{want}]"
                faults.append(f"{topic.name} has {key} = {found[key]}, not {want}: {remedy}")
    return faults


def _partitions(admin: AdminClient, kafka: KafkaSettings, heard: Hearsay) -> dict[str, int]:
    try:
        topics = admin.list_topics(timeout=_ANSWER_SECONDS).topics
    except KafkaException as error:
        admin.poll(0.1)  # for what was said at the door
        raise refusal(kafka, error, heard=heard) or BrokerError(
            f"no Kafka broker answers at {kafka.bootstrap} ({_words(error)}); start one with `sightline broker`, or "
            "point [kafka] bootstrap at yours"
        ) from error
    return {name: len(topic.partitions) for name, topic in topics.items()}


def _configs(admin: AdminClient, topics: Sequence[TopicPlan], kafka: KafkaSettings) -> dict[str, dict[str, str]]:
    if not topics:
        return {}
    asked = [ConfigResource(ResourceType.TOPIC, topic.name) for topic in topics]
    answers = admin.describe_configs(asked, request_timeout=_ANSWER_SECONDS)
    try:
        return {
            resource.name: {key: entry.value for key, entry in answer.result().items()}
            for resource, answer in answers.items()
        }
    except KafkaException as error:
        raise refusal(kafka, error) or BrokerError(
            f"{kafka.bootstrap} does not tell the settings of its topics: {_words(error)}"
        ) from error


def _create(admin: AdminClient, topics: Sequence[TopicPlan], kafka: KafkaSettings) -> None:
    if not topics:
        return
    asked = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=kafka.replication,
            config=dict(topic.config),
        )
        for topic in topics
    ]
    for name, answer in admin.create_topics(asked, operation_timeout=30, request_timeout=30).items():
        try:
            answer.result()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                continue  # another process created it at the same moment, with the same plan
            raise refusal(kafka, error, topic=name) or BrokerError(
                f"topic {name} cannot be created at {kafka.bootstrap}: {_words(error)}"
            ) from error
    _log.info("topics created", extra={"topics": [topic.name for topic in topics]})


def _words(error: KafkaException) -> Any:
    return error.args[0].str() if error.args and isinstance(error.args[0], KafkaError) else error
