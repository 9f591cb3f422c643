"""What `sightline doctor` asks the broker: whether it answers, its topics, the rights of each role, its clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.diagnosis import Finding, failed, fault, fine, warning
from sightline.errors import BrokerError, SettingsError
from sightline.settings import KafkaRole, KafkaSettings

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

_SECONDS = 5.0
AHEAD_SECONDS = 1.0
"""A stamp of the broker that is so far in the future tells of clocks that do not agree."""
ENOUGH_FRAMES = 1000
"""With fewer it is not said how they are spread over the partitions."""


def kafka() -> Iterator[Finding]:
    """Everything about Kafka; nothing more is asked of a broker that does not answer."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    settings = KafkaSettings.load()
    admin_settings = settings.for_role("admin") if "admin" in settings.roles else settings
    admin = AdminClient(admin_settings.librdkafka(log_level=0))
    began = time.monotonic()
    try:
        found = admin.list_topics(timeout=_SECONDS)
    except KafkaException as error:
        yield fault(
            "broker",
            f"none answers at {settings.bootstrap} ({error.args[0].str()})",
            "`sightline broker`, or [kafka] bootstrap and security of yours; its log has refused logins",
        )
        return
    took = (time.monotonic() - began) * 1000
    yield fine("broker", f"{len(found.brokers)} at {settings.bootstrap}, {settings.security_protocol}, {took:.0f} ms")
    yield from _topics(admin_settings)
    present = set(found.topics)
    for role in _roles(settings):
        yield from _rights(settings, role, present)
    if settings.topics.frames in present:
        yield from _frames(settings)


def _topics(settings: KafkaSettings) -> Iterator[Finding]:
    from infra.topics import TopicSettings, check_topics

    try:
        absent, count = check_topics(settings, TopicSettings.load())
    except BrokerError as error:
        yield failed("topics", error)
        return
    if absent:
        yield fault("topics", f"missing: {', '.join(absent)}", "`sightline topics`")
    else:
        yield fine("topics", f"{count}, with settings that fit")


def _roles(settings: KafkaSettings) -> list[KafkaRole]:
    """The roles that have credentials here; without any, one user does everything."""
    return [role for role in settings.roles if role != "admin"]


def _rights(settings: KafkaSettings, role: KafkaRole, present: set[str]) -> Iterator[Finding]:
    from confluent_kafka import KafkaException, TopicCollection
    from confluent_kafka.admin import AdminClient

    from sightline.kafka_roles import grants

    needed: dict[str, set[str]] = {}
    for grant in grants(role, settings):
        if grant.resource == "topic" and grant.name in present and not grant.prefixed:
            needed.setdefault(grant.name, set()).update(operation.upper() for operation in grant.operations)
    try:
        admin: AdminClient = AdminClient(settings.for_role(role).librdkafka(log_level=0))
        asked = admin.describe_topics(
            TopicCollection(sorted(needed)), include_authorized_operations=True, request_timeout=_SECONDS
        )
        allowed = {name: _operations(answer) for name, answer in asked.items()}
    except (KafkaException, SettingsError) as error:
        yield fault(f"rights of {role}", str(error)[:200], f"[kafka.roles.{role}] in sightline.toml")
        return
    missing = {name: sorted(wants - allowed[name]) for name, wants in needed.items()}
    lacking = [f"{'/'.join(operations)} on {name}" for name, operations in missing.items() if operations]
    if lacking:
        yield fault(f"rights of {role}", f"missing: {', '.join(lacking)}", f"`sightline acls --role {role} --apply`")
    else:
        yield fine(f"rights of {role}", f"all on {len(needed)} topics")


def _operations(answer: object) -> set[str]:
    """Names of what is allowed on one topic; none where it may not even be seen."""
    from confluent_kafka import KafkaException

    try:
        description = answer.result()  # type: ignore[attr-defined]
    except KafkaException:
        return set()
    return {operation.name for operation in description.authorized_operations or ()}


@dataclass(frozen=True, slots=True)
class _Frames:
    """What the topic of frames holds: records by partition, and the newest stamp in milliseconds since 1970."""

    held: dict[int, int]
    newest: int | None


def _frames(settings: KafkaSettings) -> Iterator[Finding]:
    """The frames that the broker has now: where they lie, and when it took in the newest."""
    looked = _look_at_frames(settings)
    if looked is None:
        return
    yield _clock(looked.newest)
    if sum(looked.held.values()) >= ENOUGH_FRAMES:
        yield spread(looked.held)


def _clock(newest: int | None) -> Finding:
    """The stamp of a record that the broker stamped itself, against this machine's clock."""
    if newest is None:
        return fine("broker's clock", "not known before the first frame")
    ahead = newest / 1000 - time.time()
    if ahead > AHEAD_SECONDS:
        return warning(
            "broker's clock",
            f"at least {ahead:.1f} s ahead of this machine's",
            "synchronise both: latencies and [score] shed compare them",
        )
    return fine("broker's clock", f"not ahead; newest frame {-ahead:.0f} s ago")


def spread(held: dict[int, int]) -> Finding:
    """Whether every partition has frames: a worker whose partition has none stands idle."""
    idle = sorted(partition for partition, count in held.items() if not count)
    if idle:
        return warning(
            "cameras' partitions",
            f"none of {sum(held.values()):,} frames lies in {', '.join(map(str, idle))} of {len(held)}",
            "whose workers stand idle; a camera's name decides where its frames lie: rename one. With fewer "
            "cameras than partitions nothing is to be done",
        )
    return fine("cameras' partitions", f"all {len(held)} have frames, the busiest {max(held.values()):,}")


def _look_at_frames(settings: KafkaSettings) -> _Frames | None:
    """None without the right to read them."""
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    from sightline.kafka_roles import NO_GROUP

    reader = settings.for_role("scorer") if "scorer" in settings.roles else settings
    keys = {"group.id": NO_GROUP, "enable.auto.commit": False, "log_level": 0}
    consumer, topic = Consumer(reader.librdkafka(**keys)), settings.topics.frames
    held, newest = {}, []
    try:
        for partition in consumer.list_topics(topic, timeout=_SECONDS).topics[topic].partitions:
            low, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_SECONDS)
            held[partition] = end - low
            if end > low:
                consumer.assign([TopicPartition(topic, partition, end - 1)])
                record = consumer.poll(_SECONDS)
                if record is not None and record.error() is None:
                    newest.append(record.timestamp()[1])
    except KafkaException:
        return None
    finally:
        consumer.close()
    return _Frames(held, max(newest, default=None))
