"""Who may do what in Kafka: one table, from which the rights are granted, printed and explained.

Kafka's own rules complete it: WRITE and READ bring DESCRIBE with them, and a producer that may write to any topic may
be idempotent. What is not here is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from sightline.settings import KafkaRole, KafkaSettings

Resource = Literal["topic", "group", "transactional-id"]
Operation = Literal["read", "write", "describe"]

GRANTED_ROLES: tuple[KafkaRole, ...] = tuple(role for role in get_args(KafkaRole) if role != "admin")
"""All roles but the admin, which is a super user of the broker and needs no rights of its own."""

INCIDENTS_GROUP = "sightline-incidents"
SUBSCRIBER_GROUPS = "alerts-"
"""Groups of named alert subscribers begin so: a free choice would let them enter the group of the incident process."""

NO_GROUP = "unused: this consumer never joins or commits"
"""The group of librdkafka's consumers that have none: it wants a name, and looks up who coordinates it."""
LIVE_GROUP = "sightline-live"
"""The same of the demo's screen."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One right; `prefixed` is for all names that begin so. `why` is for people."""

    resource: Resource
    name: str
    operations: tuple[Operation, ...]
    why: str
    prefixed: bool = False


def grants(role: KafkaRole, kafka: KafkaSettings) -> tuple[Grant, ...]:
    """What the role needs in a deployment, and nothing else; empty for the admin."""
    topics = kafka.topics
    group = kafka.topic_prefix + INCIDENTS_GROUP

    def read(topic: str, why: str) -> Grant:
        return Grant("topic", topic, ("read",), why)

    def write(topic: str, why: str) -> Grant:
        return Grant("topic", topic, ("write",), why)

    table: dict[KafkaRole, tuple[Grant, ...]] = {
        "camera": (
            write(topics.frames, "frames"),
            write(topics.camera_events, "health and drops"),
        ),
        "scorer": (
            read(topics.frames, "frames"),
            write(topics.inspections, "verdicts"),
            write(topics.shadow, "verdicts of challengers"),
            write(topics.dead_letters, "frames that cannot be judged"),
            write(topics.archive, "frames that are kept"),
            write(topics.camera_events, "frames that it left out"),
        ),
        "incidents": (
            read(topics.inspections, "verdicts"),
            write(topics.alerts, "alerts"),
            Grant("topic", topics.alert_state, ("read", "write"), "the state of its fold"),
            Grant("group", group, ("read",), "shares the cameras, notes how far it came"),
            Grant("group", NO_GROUP, ("describe",), "reads its state without a group"),
            Grant("transactional-id", group + "-", ("write",), "alerts, state and offsets at once", prefixed=True),
        ),
        "historian": tuple(
            read(topic, "rows of a table")
            for topic in (
                topics.inspections, topics.shadow, topics.alerts, topics.operator_actions, topics.camera_events,
                topics.dead_letters, topics.archive,
            )
        ),
        "operator": (
            read(topics.alerts, "alerts"),
            Grant("topic", topics.operator_actions, ("read", "write"), "what operators do about them"),
            *(read(topic, "the wall") for topic in (topics.inspections, topics.camera_events, topics.frames)),
            Grant("group", SUBSCRIBER_GROUPS, ("read",), "named subscribers", prefixed=True),
        ),
        "engineer": (
            Grant("topic", topics.frames, ("read", "write"), "proof that no frame is missing; replays"),
            Grant("topic", topics.dead_letters, ("read",), "dead letters"),
            Grant("topic", topics.replays, ("read", "write"), "which dead letters were replayed"),
            *(read(topic, "the live view") for topic in (topics.inspections, topics.alerts, topics.camera_events)),
            Grant("group", group, ("describe",), "how far the incident process is behind"),
            *(Grant("group", name, ("describe",), "reads without a group") for name in (NO_GROUP, LIVE_GROUP)),
        ),
    }  # fmt: skip
    return table.get(role, ())
