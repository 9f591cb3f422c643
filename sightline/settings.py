"""Typed settings: one small class per concern, from arguments, environment and one TOML file, in that order.

The `[kafka]` table of the file and `SIGHTLINE_KAFKA_*` in the environment fill `KafkaSettings`, and so on: the section
name is on each class. The file is `$SIGHTLINE_CONFIG` if set, else `sightline.toml` in the working folder; below it
lies `run/sightline.toml`, which an embedded deployment writes so that every command finds its ports.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

import pydantic_settings
from pydantic import Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
    SettingsConfigDict,
)

from sightline.errors import SettingsError

MAX_MESSAGE_BYTES = 10 * 1024 * 1024
"""The largest Kafka record, the same at producer, broker, topic and consumer."""


def run_folder() -> Path:
    """The folder of everything that a run leaves behind, `$SIGHTLINE_RUN` or `run`; it can be deleted as a whole."""
    return Path(os.environ.get("SIGHTLINE_RUN", "run"))


def config_files() -> list[Path]:
    """The TOML files that are read, the strongest first; raises SettingsError for a named one that is absent."""
    named = os.environ.get("SIGHTLINE_CONFIG")
    if named and not Path(named).is_file():
        raise SettingsError(f"SIGHTLINE_CONFIG names {named!r}, which is not a file; correct or unset it")
    own = Path(named) if named else Path("sightline.toml")
    return [path for path in (own, run_folder() / "sightline.toml") if path.is_file()]


class Section(BaseSettings):
    """Base of every settings class: `section` is its TOML table and, in capitals, its environment prefix."""

    section: ClassVar[str]
    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if section := cls.__dict__.get("section"):
            cls.model_config["env_prefix"] = f"SIGHTLINE_{section.upper()}_"
            # the only source of pydantic-settings that reads one table of a TOML file
            cls.model_config["pyproject_toml_table_header"] = (section,)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        files = config_files() or [Path("sightline.toml")]
        return init_settings, env_settings, *(_table_source(settings_cls, path) for path in files)

    @classmethod
    def load(cls, **given: Any) -> Self:
        """Settings from all sources; `given` wins, its None values are ignored.

        Raises SettingsError naming each wrong key, its value and what was expected.
        """
        try:
            return cls(**{key: value for key, value in given.items() if value is not None})
        except ValidationError as error:
            raise SettingsError("\n".join(cls._explain(fault) for fault in error.errors())) from None
        except tomllib.TOMLDecodeError as error:
            names = ", ".join(str(path) for path in config_files())
            raise SettingsError(f"the configuration is not valid TOML ({names}): {error}") from None
        except pydantic_settings.SettingsError as error:
            raise SettingsError(
                f"[{cls.section}] {error}: in the environment (SIGHTLINE_{cls.section.upper()}_…) a table is written "
                'as JSON, for example {"key": "value"}'
            ) from None

    @classmethod
    def _explain(cls, fault: ErrorDetails) -> str:
        key = ".".join(map(str, fault["loc"]))
        value = "***" if SecretStr in _types_of(cls, key.split(".")[0]) else repr(fault["input"])
        variable = f"SIGHTLINE_{cls.section}_{key}".upper()
        return f"[{cls.section}] {key} = {value}: {fault['msg']} (in the environment: {variable})"


class KafkaSettings(Section):
    """How to reach Kafka; renders the keys of each client."""

    section: ClassVar[str] = "kafka"

    bootstrap: str = "127.0.0.1:9092"
    topic_prefix: str = ""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ca_file: Path | None = None
    partitions: Annotated[int, Field(ge=1, le=1000)] = 2
    """Partitions of `frames` and `inspections`: as many as the score query has task slots."""
    replication: Annotated[int, Field(ge=1, le=9)] = 1

    @property
    def topics(self) -> Topics:
        return Topics(self.topic_prefix)

    def librdkafka(self, **more: Any) -> dict[str, Any]:
        """Keys of confluent-kafka, for clients of any kind."""
        keys: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": self.security_protocol,
            "sasl.mechanism": self.sasl_mechanism,
            "sasl.username": self.sasl_username,
            "sasl.password": self.sasl_password and self.sasl_password.get_secret_value(),
            "ssl.ca.location": self.ca_file and str(self.ca_file),
            # librdkafka 2.16 would replace its broker handles once all brokers were away, and wait for an answer on an
            # old one: consumers and transactions hung for good, whatever their timeouts
            "metadata.recovery.strategy": "none",
        }
        return {key: value for key, value in keys.items() if value is not None} | more

    def kafka_python(self, **more: Any) -> dict[str, Any]:
        """Keyword arguments of kafka-python's clients."""
        keys: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap.split(","),
            "security_protocol": self.security_protocol,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self.sasl_password and self.sasl_password.get_secret_value(),
            "ssl_cafile": self.ca_file and str(self.ca_file),
        }
        return {key: value for key, value in keys.items() if value is not None} | more

    def spark(self) -> dict[str, str]:
        """Options of Spark's Kafka source and sink."""
        keys = {"kafka.bootstrap.servers": self.bootstrap, "kafka.security.protocol": self.security_protocol}
        if self.sasl_mechanism:
            module = "plain.PlainLoginModule" if self.sasl_mechanism == "PLAIN" else "scram.ScramLoginModule"
            secret = self.sasl_password.get_secret_value() if self.sasl_password else ""
            keys["kafka.sasl.mechanism"] = self.sasl_mechanism
            keys["kafka.sasl.jaas.config"] = (
                f"org.apache.kafka.common.security.{module} required "
                f"username={_jaas(self.sasl_username or '')} password={_jaas(secret)};"
            )
        if self.ca_file:
            keys["kafka.ssl.truststore.type"] = "PEM"
            keys["kafka.ssl.truststore.location"] = str(self.ca_file)
        return keys


class Topics:
    """Names of the topics, with a deployment's prefix before each."""

    def __init__(self, prefix: str = "") -> None:
        self.frames = prefix + "frames"
        self.dead_letters = prefix + "frames.dead-letter"
        self.replays = prefix + "frames.dead-letter.replayed"
        self.archive = prefix + "frames.archive"
        self.inspections = prefix + "inspections"
        self.shadow = prefix + "inspections.shadow"
        self.alerts = prefix + "alerts"
        self.alert_state = prefix + "alerts.state"
        self.operator_actions = prefix + "operator-actions"
        self.camera_events = prefix + "camera-events"


class TableSettings(Section):
    """Where the Delta tables live: a folder or an object-store path such as `s3a://bucket/sightline`."""

    section: ClassVar[str] = "tables"

    root: str = Field(default_factory=lambda: str(run_folder() / "tables"))
    storage_options: dict[str, SecretStr] = {}
    """Keys of the object store for readers outside Spark, such as `AWS_ENDPOINT_URL`; `AWS_*` variables count too."""

    def path(self, table: str) -> str:
        """Where a table lies; a local path is absolute, since Spark takes no other for a table."""
        root = self.root if "://" in self.root else str(Path(self.root).absolute())
        return f"{root.rstrip('/')}/{table}"


class RegistrySettings(Section):
    """Where MLflow keeps runs, detectors and aliases."""

    section: ClassVar[str] = "registry"

    tracking_uri: str = Field(default_factory=lambda: f"sqlite:///{(run_folder() / 'mlflow' / 'mlflow.db').absolute()}")
    artifact_root: str | None = None
    """Where a new experiment puts its files; by default beside a local database, else the server's own choice."""
    experiment: str = "sightline"
    model_prefix: str = "sightline."
    """A product's detector is registered as this prefix and the product's name."""
    poll_seconds: Annotated[float, Field(gt=0)] = 5.0


def _table_source(section: type[BaseSettings], path: Path) -> PydanticBaseSettingsSource:
    try:
        return PyprojectTomlConfigSettingsSource(section, path)
    except AttributeError:
        # what pydantic-settings makes of `kafka = 3` where a table `[kafka]` belongs
        name = section.model_config["pyproject_toml_table_header"][0]
        raise SettingsError(f"{path}: {name!r} must be a table, [{name}] with keys below it, not one value") from None


def _types_of(section: type[Section], key: str) -> tuple[Any, ...]:
    known = section.model_fields.get(key)
    return get_args(known.annotation) or (known.annotation,) if known else ()


def _jaas(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
