"""What each kind of Kafka client is told about the way to the broker: address, encryption, and who connects.

All of them check the broker's certificate and the host name in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.errors import SettingsError

if TYPE_CHECKING:
    from sightline.settings import KafkaSettings

_ANSWER_MS = 15_000
"""A broker that does not answer for so long is taken for gone, and whoever leads its partitions by then is asked. A
cluster notices after 9 s; the 30 and 60 s of the clients' defaults would hold frames and alerts long after that."""


def librdkafka(kafka: KafkaSettings) -> dict[str, Any]:
    """Keys of confluent-kafka."""
    keys: dict[str, Any] = {
        "bootstrap.servers": kafka.bootstrap,
        "security.protocol": kafka.security_protocol,
        "sasl.mechanism": kafka.mechanism,
        "sasl.username": kafka.sasl_username,
        "sasl.password": kafka.sasl_password and kafka.sasl_password.get_secret_value(),
        # librdkafka 2.16 would replace its broker handles once all brokers were away, and wait for an answer on an
        # old one: consumers and transactions hung for good, whatever their timeouts
        "metadata.recovery.strategy": "none",
        "socket.timeout.ms": _ANSWER_MS,
    }
    if kafka.encrypted:
        keys |= {
            "ssl.endpoint.identification.algorithm": "https",
            "ssl.ca.location": kafka.ca_file and str(kafka.ca_file),
            "ssl.certificate.location": kafka.client_certificate and str(kafka.client_certificate),
            "ssl.key.location": kafka.client_key and str(kafka.client_key),
            "ssl.key.password": kafka.client_key_password and kafka.client_key_password.get_secret_value(),
        }
    return _given(keys)


def kafka_python(kafka: KafkaSettings) -> dict[str, Any]:
    """Keyword arguments of kafka-python's clients."""
    keys: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap.split(","),
        "security_protocol": kafka.security_protocol,
        "sasl_mechanism": kafka.mechanism,
        "sasl_plain_username": kafka.sasl_username,
        "sasl_plain_password": kafka.sasl_password and kafka.sasl_password.get_secret_value(),
        "request_timeout_ms": _ANSWER_MS,
    }
    if kafka.encrypted:
        keys |= {
            "ssl_check_hostname": True,
            "ssl_cafile": kafka.ca_file and str(kafka.ca_file),
            "ssl_certfile": kafka.client_certificate and str(kafka.client_certificate),
            "ssl_keyfile": kafka.client_key and str(kafka.client_key),
            "ssl_password": kafka.client_key_password and kafka.client_key_password.get_secret_value(),
        }
    return _given(keys)


def spark(kafka: KafkaSettings) -> dict[str, str]:
    """Options of Spark's Kafka source and sink.

    Certificates and key go in as text: the executors, which may be other machines, need no file of them. Java takes a
    key in PKCS #8 only; raises SettingsError for another, and for a file that cannot be read.
    """
    keys = {
        "bootstrap.servers": kafka.bootstrap,
        "security.protocol": kafka.security_protocol,
        # executor, driver and its metadata wait for the same broker one after the other; all are near it
        "request.timeout.ms": str(_ANSWER_MS // 2),
        # who leads now is asked beside an answer that may never come, and not after it
        "metadata.max.age.ms": "3000",
        "socket.connection.setup.timeout.ms": "3000",
        "socket.connection.setup.timeout.max.ms": str(_ANSWER_MS // 2),
    }
    if kafka.mechanism:
        module = "plain.PlainLoginModule" if kafka.mechanism == "PLAIN" else "scram.ScramLoginModule"
        secret = kafka.sasl_password.get_secret_value() if kafka.sasl_password else ""
        keys["sasl.mechanism"] = kafka.mechanism
        keys["sasl.jaas.config"] = (
            f"org.apache.kafka.common.security.{module} required "
            f"username={_jaas(kafka.sasl_username or '')} password={_jaas(secret)};"
        )
    if kafka.encrypted:
        keys["ssl.endpoint.identification.algorithm"] = "https"
        if kafka.ca_file:
            keys["ssl.truststore.type"] = "PEM"
            keys["ssl.truststore.certificates"] = _text(kafka.ca_file, "ca_file")
        if kafka.client_certificate and kafka.client_key:
            keys["ssl.keystore.type"] = "PEM"
            keys["ssl.keystore.certificate.chain"] = _text(kafka.client_certificate, "client_certificate")
            keys["ssl.keystore.key"] = _pkcs8(kafka.client_key)
        if kafka.client_key_password:
            keys["ssl.key.password"] = kafka.client_key_password.get_secret_value()
    return {f"kafka.{key}": value for key, value in keys.items()}


def _given(keys: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value is not None}


def _jaas(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(path: Path, key: str) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text in PEM form"
        raise SettingsError(f"[kafka] {key} = {str(path)!r} cannot be read: {why}") from None


def _pkcs8(path: Path) -> str:
    text = _text(path, "client_key")
    if "BEGIN PRIVATE KEY" not in text and "BEGIN ENCRYPTED PRIVATE KEY" not in text:
        raise SettingsError(
            f"[kafka] client_key = {str(path)!r} is not a key in PKCS #8, the only form that Spark's client reads; "
            "convert it with `openssl pkcs8 -topk8 -in OLD -out NEW`"
        )
    return text
