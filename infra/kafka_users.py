"""Users with passwords in Kafka (SCRAM): made, given a new password, removed with their rights."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from infra.certificates import write_secret
from sightline.errors import BrokerError, SettingsError
from sightline.kafka_refusal import refusal
from sightline.settings import KafkaSettings

# each in a request of its own: Kafka takes a user once in a request
_MECHANISMS = (ScramMechanism.SCRAM_SHA_512, ScramMechanism.SCRAM_SHA_256)
_ITERATIONS = 8192
_ANSWER_SECONDS = 30.0
_SHORTEST = 12


def set_passwords(admin: KafkaSettings, passwords: Mapping[str, str]) -> None:
    """Create these users, or give them these passwords, for both kinds of SCRAM.

    Raises BrokerError naming the user when the broker refuses.
    """
    for mechanism in _MECHANISMS:
        made = ScramCredentialInfo(mechanism, _ITERATIONS)
        _alter(admin, [UserScramCredentialUpsertion(user, made, text.encode()) for user, text in passwords.items()])


def remove_user(admin: KafkaSettings, user: str) -> None:
    """Take the user's passwords and rights away; connections that it has open stay until they end.

    Raises BrokerError when the broker refuses. A user that does not exist is no error.
    """
    for mechanism in _MECHANISMS:
        _alter(admin, [UserScramCredentialDeletion(user, mechanism)])
    everything = AclBindingFilter(
        ResourceType.ANY,
        None,
        ResourcePatternType.ANY,
        f"User:{user}",
        None,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    client = AdminClient(admin.librdkafka(log_level=0))
    try:
        for answer in client.delete_acls([everything], request_timeout=_ANSWER_SECONDS).values():
            answer.result()
    except KafkaException as error:
        raise refusal(admin, error) or _failed(admin, user, error) from error


def password_in(file: Path) -> str:
    """The password in the file; where there is no file, a new one of 256 random bits is written to it.

    Raises SettingsError for a file that cannot be used, or a password of fewer than 12 characters.
    """
    try:
        if not file.exists():
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_secret(file, secrets.token_urlsafe(32).encode())
        text = file.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} cannot be used for a password: {error}; name another file") from None
    if len(text) < _SHORTEST:
        raise SettingsError(
            f"the password in {file} has fewer than {_SHORTEST} characters; delete the file for a new one"
        )
    return text


def _alter(admin: KafkaSettings, asked: Sequence[UserScramCredentialAlteration]) -> None:
    client = AdminClient(admin.librdkafka(log_level=0))
    try:
        answers = client.alter_user_scram_credentials(list(asked), request_timeout=_ANSWER_SECONDS)
    except KafkaException as error:
        raise refusal(admin, error) or _failed(admin, "", error) from error
    for user, answer in answers.items():
        try:
            answer.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.RESOURCE_NOT_FOUND:
                raise refusal(admin, error) or _failed(admin, user, error) from error


def _failed(admin: KafkaSettings, user: str, error: KafkaException) -> BrokerError:
    fault = error.args[0]
    said = fault.str() if isinstance(fault, KafkaError) else fault
    return BrokerError(f"user {user or '(any)'} cannot be changed at {admin.bootstrap}: {said}")
