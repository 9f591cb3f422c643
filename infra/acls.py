"""The rights of each role in Kafka, as the broker keeps them: compared with the table, and granted."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from sightline.errors import BrokerError
from sightline.kafka_refusal import refusal
from sightline.kafka_roles import Grant, grants
from sightline.settings import KafkaRole, KafkaSettings

_ANSWER_SECONDS = 30.0
_RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}
_OPERATIONS = {"read": AclOperation.READ, "write": AclOperation.WRITE, "describe": AclOperation.DESCRIBE}


@dataclass(frozen=True, slots=True)
class AclReport:
    """What the broker has of the rights of one user: those of the table, those that it lacks, and any others.

    `others` are lines for people: they were granted by someone else, and are left alone.
    """

    user: str
    role: KafkaRole
    present: tuple[Grant, ...]
    missing: tuple[Grant, ...]
    others: tuple[str, ...]


def ensure_acls(kafka: KafkaSettings, users: Mapping[str, KafkaRole], *, apply: bool) -> list[AclReport]:
    """Compare the rights of each user with those of its role, and with `apply` grant what is missing.

    `kafka` connects as an admin. May be called any number of times; takes no right away. Raises BrokerError when the
    broker keeps no rights, or does not let this user see or change them.
    """
    admin = AdminClient(kafka.librdkafka(log_level=0))
    reports = [_compare(admin, kafka, user, role) for user, role in users.items()]
    wanted = [binding for report in reports if apply for binding in _bindings(report.user, report.missing)]
    if wanted:
        for answer in admin.create_acls(wanted, request_timeout=_ANSWER_SECONDS).values():
            try:
                answer.result()
            except KafkaException as error:
                raise _refused(kafka, error, "granted") from error
        _wait_until_granted(admin, kafka, users)
    return reports


def _wait_until_granted(admin: AdminClient, kafka: KafkaSettings, users: Mapping[str, KafkaRole]) -> None:
    """A right that the controller has noted counts a moment later, when the broker has read of it."""
    ends = time.monotonic() + _ANSWER_SECONDS
    while missing := [user for user, role in users.items() if _compare(admin, kafka, user, role).missing]:
        if time.monotonic() > ends:
            raise BrokerError(
                f"the broker at {kafka.bootstrap} has taken the rights of {', '.join(missing)} and does not show them "
                f"after {_ANSWER_SECONDS:g} s; run this again"
            )
        time.sleep(0.1)


def _compare(admin: AdminClient, kafka: KafkaSettings, user: str, role: KafkaRole) -> AclReport:
    asked = AclBindingFilter(
        ResourceType.ANY,
        None,
        ResourcePatternType.ANY,
        f"User:{user}",
        None,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    try:
        found = set(admin.describe_acls(asked, request_timeout=_ANSWER_SECONDS).result())
    except KafkaException as error:
        raise _refused(kafka, error, "shown") from error
    table = grants(role, kafka)
    present = tuple(grant for grant in table if set(_bindings(user, [grant])) <= found)
    others = found - set(_bindings(user, table))
    return AclReport(
        user=user,
        role=role,
        present=present,
        missing=tuple(grant for grant in table if grant not in present),
        others=tuple(sorted(map(_line, others))),
    )


def _bindings(user: str, table: Sequence[Grant]) -> Iterator[AclBinding]:
    for grant in table:
        for operation in grant.operations:
            yield AclBinding(
                _RESOURCES[grant.resource],
                grant.name,
                ResourcePatternType.PREFIXED if grant.prefixed else ResourcePatternType.LITERAL,
                f"User:{user}",
                "*",
                _OPERATIONS[operation],
                AclPermissionType.ALLOW,
            )


def _line(binding: AclBinding) -> str:
    words = (binding.permission_type, binding.operation, binding.restype)
    prefix = "*" if binding.resource_pattern_type == ResourcePatternType.PREFIXED else ""
    return f"{' '.join(word.name.lower() for word in words)} {binding.name}{prefix} from {binding.host}"


def _refused(kafka: KafkaSettings, error: KafkaException, done: str) -> BrokerError:
    fault = error.args[0]
    if isinstance(fault, KafkaError) and fault.code() == KafkaError.SECURITY_DISABLED:
        return BrokerError(
            f"the broker at {kafka.bootstrap} keeps no rights: everyone may do everything; start the embedded one with "
            "[broker] secure = true, or give yours an authorizer (authorizer.class.name)"
        )
    return refusal(kafka, error) or BrokerError(
        f"rights cannot be {done} at {kafka.bootstrap}: {fault.str() if isinstance(fault, KafkaError) else fault}"
    )
