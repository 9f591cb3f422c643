"""What Kafka's refusals mean: who was refused what, what the role needs, and the command that mends it.

The clients say the same in three ways: librdkafka by code, kafka-python by class, Java, and so Spark, by text.
"""

from __future__ import annotations

import re
from typing import Any

from sightline.errors import BrokerError
from sightline.kafka_roles import Grant, Operation, Resource, grants
from sightline.settings import KafkaSettings

# codes of Kafka's protocol, and librdkafka's own below zero
_RESOURCES: dict[int, Resource] = {29: "topic", 30: "group", 53: "transactional-id"}
_CLUSTER = 31
_AUTHENTICATION = (58, -169)
_ENCRYPTION = (-181,)
_NAMES: dict[str, int] = {
    "TopicAuthorization": 29,
    "GroupAuthorization": 30,
    "ClusterAuthorization": _CLUSTER,
    "TransactionalIdAuthorization": 53,
    "SaslAuthentication": 58,
    "AuthenticationFailed": 58,
    "SslAuthentication": -181,
    "SSLHandshake": -181,
}
_NAMED = re.compile("(" + "|".join(_NAMES) + r")(?:Exception|FailedError|Error)")
_GROUP = re.compile(r"Not authorized to access group: (\S{1,300})")
_TOPICS = re.compile(r"(?:topics?|Topic authorization failed)[^\[\n]{0,40}\[([^\]\n]{1,300})\]")


class Hearsay:
    """An `error_cb` of librdkafka that remembers the last refusal at the door, which the calls report as silence."""

    def __init__(self) -> None:
        self.last: Any = None

    def __call__(self, error: Any) -> None:
        """Note `error`, a KafkaError, if it is about who connects or about encryption."""
        if error.code() in (*_AUTHENTICATION, *_ENCRYPTION):
            self.last = error


def refusal(
    kafka: KafkaSettings,
    error: object,
    *,
    topic: str | None = None,
    operation: Operation | None = None,
    heard: Hearsay | None = None,
) -> BrokerError | None:
    """What to tell a person about `error`, or None when it is no refusal.

    `error` is a KafkaError or KafkaException of confluent-kafka, an error of kafka-python, or a text with Java's words;
    `topic` and `operation` are what was asked for, where the error does not say. What was `heard` explains a call that
    found nobody.
    """
    for said in (error, heard.last if heard else None):
        code = _code(said)
        if code in _AUTHENTICATION:
            return BrokerError(
                f"the Kafka broker at {kafka.bootstrap} does not know {_who(kafka)}: correct sasl_username and "
                f"sasl_password (or sasl_password_file), or the certificate, in {_section(kafka)}, or have an admin "
                f"run `sightline kafka-user {kafka.sasl_username or 'NAME'} --role {kafka.role or 'ROLE'}`"
            )
        if code in _ENCRYPTION:
            return BrokerError(
                f"no trusted connection to Kafka at {kafka.bootstrap}: its certificate is not signed by [kafka] "
                f"ca_file ({kafka.ca_file or 'not set: the authorities of the system'}), is not for this host name, "
                "or it wants a client certificate; correct ca_file, bootstrap, client_certificate or security_protocol"
            )
        if code == _CLUSTER and operation == "write":
            # a producer is numbered for whoever may write to any topic at all
            return BrokerError(_denied(kafka, "topic", topic, operation))
        if code == _CLUSTER:
            return BrokerError(
                f"the Kafka broker at {kafka.bootstrap} lets only an admin do this, and {_who(kafka)} is none; use an "
                "admin's credentials in [kafka.roles.admin]"
            )
        if code in _RESOURCES:
            resource = _RESOURCES[code]
            name = (topic or _topic(said)) if resource == "topic" else _group(said)
            return BrokerError(_denied(kafka, resource, name, operation if resource == "topic" else None))
    return None


def _denied(kafka: KafkaSettings, resource: Resource, name: str | None, operation: Operation | None) -> str:
    asked = f"to {operation} the {resource}" if operation else f"the {resource}"
    refused = f"the Kafka broker at {kafka.bootstrap} refuses {_who(kafka)} {asked} {name or '(not named)'}"
    if kafka.role is None:
        return (
            f"{refused}; name a user with the right to it in [kafka] sasl_username (`sightline acls` lists the rights)"
        )
    table = [grant for grant in grants(kafka.role, kafka) if grant.resource == resource and _is_for(grant, name)]
    needed = sorted({one for grant in table for one in grant.operations if operation in (None, one)})
    hint = "; the name of a named subscriber begins with 'alerts-'" if resource == "group" else ""
    if not needed:
        return f"{refused}, which is not for the role {kafka.role}{hint}; `sightline acls` lists what each role may do"
    return (
        f"{refused}: the role {kafka.role} needs to {' and '.join(needed)} it; an admin grants that with "
        f"`sightline acls --role {kafka.role} --user {kafka.sasl_username or 'NAME'} --apply`{hint}"
    )


def _is_for(grant: Grant, name: str | None) -> bool:
    return name is None or name == grant.name or (grant.prefixed and name.startswith(grant.name))


def _code(error: object) -> int | None:
    if error is None:
        return None
    # KafkaException has a KafkaError inside; kafka-python's errors carry the number of the protocol
    inner = error.args[0] if isinstance(error, Exception) and error.args else error
    for one in (error, inner):
        code = getattr(one, "code", None)
        if callable(code):
            return int(code())
    number = getattr(error, "errno", None)
    if isinstance(number, int) and not isinstance(error, OSError) and (number in _RESOURCES or number == _CLUSTER):
        return number
    found = _NAMED.search(f"{type(error).__name__} {error}")
    return _NAMES[found.group(1)] if found else None


def _group(error: object) -> str | None:
    found = _GROUP.search(str(error))
    return found.group(1) if found else None


def _topic(error: object) -> str | None:
    found = _TOPICS.search(str(error))
    return found.group(1) if found else None


def _who(kafka: KafkaSettings) -> str:
    return f"user {kafka.user}" if kafka.sasl_username else f"the client {kafka.user or 'without a name'}"


def _section(kafka: KafkaSettings) -> str:
    return f"[kafka] or [kafka.roles.{kafka.role}]" if kafka.role else "[kafka]"
