"""A refusal of Kafka, in the words of each client, becomes who, what, and the command that mends it."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from kafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError

from sightline.kafka_refusal import Hearsay, refusal
from sightline.kafka_roles import GRANTED_ROLES, grants
from sightline.settings import KafkaRole, KafkaSettings

DENIED = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)


def user(role: KafkaRole | None) -> KafkaSettings:
    kafka = KafkaSettings.load(
        bootstrap="plant:1", security_protocol="SASL_SSL", sasl_username="north", sasl_password="hush"
    )
    return kafka.for_role(role) if role else kafka


@pytest.mark.parametrize(
    "error",
    [
        DENIED,
        KafkaException(DENIED),
        TopicAuthorizationFailedError("frames"),
        "org.apache.kafka.common.errors.TopicAuthorizationException: Not authorized to access topics: [frames]",
    ],
)
def test_a_right_that_the_role_should_have_is_named_with_its_command(error: object) -> None:
    told = str(refusal(user("camera"), error, topic="frames"))
    assert "plant:1 refuses user north the topic frames: the role camera needs to write it" in told
    assert "`sightline acls --role camera --user north --apply`" in told
    assert "hush" not in told


def test_java_names_the_topic_itself() -> None:
    java = "TopicAuthorizationException: Not authorized to access topics: [inspections]"
    assert "the topic inspections: the role scorer needs to write it" in str(refusal(user("scorer"), java))


def test_what_is_not_for_the_role_is_not_offered() -> None:
    told = str(refusal(user("camera"), DENIED, topic="alerts", operation="write"))
    assert "to write the topic alerts, which is not for the role camera" in told
    assert "--apply" not in told
    assert "name a user with the right" in str(refusal(user(None), DENIED, topic="alerts"))


def test_the_name_of_a_subscriber_is_explained() -> None:
    assert "begins with 'alerts-'" in str(refusal(user("operator"), GroupAuthorizationFailedError("lamp")))


def test_what_was_heard_at_the_door_explains_silence() -> None:
    heard = Hearsay()
    silence = KafkaException(KafkaError(KafkaError._TRANSPORT))
    assert refusal(user("camera"), silence, heard=heard) is None
    heard(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert refusal(user("camera"), silence, heard=heard) is None
    heard(KafkaError(KafkaError._AUTHENTICATION))
    assert "does not know user north" in str(refusal(user("camera"), silence, heard=heard))
    heard(KafkaError(KafkaError._SSL))
    assert "no trusted connection" in str(refusal(user("camera"), silence, heard=heard))


@pytest.mark.parametrize(
    "error", [None, OSError(30, "Read-only file system"), ValueError("x"), "a plan with topics [a]"]
)
def test_other_errors_are_none_of_its_business(error: Any) -> None:
    assert refusal(user("camera"), error) is None


def test_no_role_may_do_what_another_answers_for() -> None:
    kafka = KafkaSettings.load(topic_prefix="plant7.")
    names = kafka.topics
    writers: dict[str, set[str]] = {}
    for role in GRANTED_ROLES:
        for grant in grants(role, kafka):
            # all of a deployment bears its prefix, so that two may share a cluster
            assert grant.resource == "group" or grant.name.startswith("plant7.")
            if grant.resource == "topic" and "write" in grant.operations:
                writers.setdefault(grant.name, set()).add(role)
    assert writers[names.inspections] == {"scorer"}
    assert writers[names.alerts] == {"incidents"}
    assert writers[names.operator_actions] == {"operator"}
    assert writers[names.frames] == {"camera", "engineer"}
    assert "historian" not in set().union(*writers.values())
