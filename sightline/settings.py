"""Typed settings: one small class per concern, from arguments, environment and one TOML file, in that order.

The `[kafka]` table of the file and `SIGHTLINE_KAFKA_*` in the environment fill `KafkaSettings`, and so on: the section
name is on each class. The file is `$SIGHTLINE_CONFIG` if set, else `sightline.toml` in the working folder; below it
lies `run/sightline.toml`, which an embedded deployment writes so that every command finds its ports.

A secret may lie in a file of its own: `KEY_file`, or `SIGHTLINE_SECTION_KEY_FILE`, names it in place of KEY.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic_settings
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
    SettingsConfigDict,
)

from sightline import client_keys
from sightline.errors import SettingsError
from sightline.secret_files import SecretFileVariables, may_hold_secret, with_secrets_read

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
        tables = (_table_source(settings_cls, path) for path in files)
        return init_settings, env_settings, SecretFileVariables(settings_cls), *tables

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, given: Any) -> Any:
        return with_secrets_read(given, cls.model_fields, f"[{cls.section}] ") if isinstance(given, dict) else given

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
        known = cls.model_fields.get(key.split(".")[0])
        # a key that nobody knows may be a secret's, misspelt
        shown = known is not None and not may_hold_secret(known.annotation)
        value = repr(fault["input"]) if shown else "***"
        variable = f"SIGHTLINE_{cls.section}_{key}".upper()
        return f"[{cls.section}] {key} = {value}: {fault['msg']} (in the environment: {variable})"


Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
KafkaRole = Literal["camera", "scorer", "incidents", "historian", "operator", "engineer", "admin"]
"""What a process is to Kafka; `sightline.kafka_roles` says what each may do."""


class KafkaCredentials(BaseModel):
    """Who connects: a user with a password, or a client certificate with its key, both in PEM form."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    client_key_password: SecretStr | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, given: Any) -> Any:
        return with_secrets_read(given, cls.model_fields, "[kafka.roles.*] ") if isinstance(given, dict) else given


class KafkaSettings(Section):
    """How to reach Kafka; renders the keys of each client.

    `for_role` gives what a process connects with: the user or certificate named here, or the one of its role.
    """

    section: ClassVar[str] = "kafka"

    bootstrap: str = "127.0.0.1:9092"
    topic_prefix: str = ""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Mechanism | None = None
    """With a SASL protocol, by default SCRAM-SHA-512."""
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ca_file: Path | None = None
    """Certificates, in PEM form, of those who may sign the brokers'; by default the ones that the system trusts."""
    client_certificate: Path | None = None
    client_key: Path | None = None
    client_key_password: SecretStr | None = None
    roles: dict[KafkaRole, KafkaCredentials] = Field(default_factory=dict)
    """Credentials by role, for a machine with several processes, each with rights of its own."""
    role: KafkaRole | None = None
    partitions: Annotated[int, Field(ge=1, le=1000)] = 2
    """Partitions of `frames` and `inspections`: as many as the score query has task slots."""
    replication: Annotated[int, Field(ge=1, le=9)] = 1

    @property
    def topics(self) -> Topics:
        return Topics(self.topic_prefix)

    @property
    def encrypted(self) -> bool:
        return self.security_protocol in ("SSL", "SASL_SSL")

    @property
    def mechanism(self) -> Mechanism | None:
        """The SASL mechanism in force; None without SASL."""
        return (self.sasl_mechanism or "SCRAM-SHA-512") if self.security_protocol.startswith("SASL") else None

    @property
    def user(self) -> str | None:
        """Who connects, as far as it is known without reading a certificate."""
        return self.sasl_username or (f"of {self.client_certificate}" if self.client_certificate else None)

    def for_role(self, role: KafkaRole) -> KafkaSettings:
        """The same with the credentials of `role`, where there are any and no user is named for all.

        Raises SettingsError where the broker wants a user and none is known.
        """
        own = None if self.user else self.roles.get(role)
        given = {key: getattr(own, key) for key in own.model_fields_set} if own else {}
        chosen = self.model_copy(update={"role": role, "roles": {}} | given)
        _require_consistent(chosen)
        return chosen

    def user_of(self, role: KafkaRole) -> str:
        """The user that has the role: the one in `[kafka.roles]`, else one that is called like it."""
        own = self.roles.get(role)
        return (own and own.sasl_username) or role

    def librdkafka(self, **more: Any) -> dict[str, Any]:
        """Keys of confluent-kafka, for clients of any kind."""
        return client_keys.librdkafka(self) | more

    def kafka_python(self, **more: Any) -> dict[str, Any]:
        """Keyword arguments of kafka-python's clients."""
        return client_keys.kafka_python(self) | more

    def spark(self) -> dict[str, str]:
        """Options of Spark's Kafka source and sink; raises SettingsError for a certificate that cannot be read."""
        return client_keys.spark(self)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _require_consistent(self)
        return self


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
    """Keys of the object store for what is not Spark (the writer of the tables, and readers), such as
    `AWS_ENDPOINT_URL`; `AWS_*` variables count too."""

    def path(self, table: str) -> str:
        """Where a table lies; a local path is absolute, since Spark takes no other for a table."""
        root = self.root if "://" in self.root else str(Path(self.root).absolute())
        return f"{root.rstrip('/')}/{table}"

    def delta_rs(self, table: str) -> dict[str, Any]:
        """Where a table lies and how it is reached, as arguments of `deltalake.DeltaTable`."""
        scheme, colon, rest = self.path(table).partition("://")
        # Spark names an S3 bucket `s3a://…`, delta-rs `s3://…`
        uri = f"s3{colon}{rest}" if scheme in ("s3a", "s3n") else self.path(table)
        options = {key: value.get_secret_value() for key, value in self.storage_options.items()}
        return {"table_uri": uri, "storage_options": options or None}


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


def _require_consistent(kafka: KafkaSettings) -> None:
    """Raises SettingsError for security keys that are missing or contradict each other."""
    protocol, sasl = kafka.security_protocol, kafka.security_protocol.startswith("SASL")
    certificates = {key: getattr(kafka, key) for key in ("ca_file", "client_certificate", "client_key")}
    for key, path in certificates.items():
        if path and not kafka.encrypted:
            raise SettingsError(
                f"[kafka] {key} is set, and security_protocol = {protocol!r} encrypts nothing; set it to 'SSL' or "
                f"'SASL_SSL', or remove {key}"
            )
        if path and not path.is_file():
            raise SettingsError(f"[kafka] {key} = {str(path)!r} is not a file; correct the path")
    if bool(kafka.client_certificate) != bool(kafka.client_key):
        raise SettingsError("[kafka] client_certificate and client_key belong together; set both or none")
    if not sasl:
        if kafka.sasl_username or kafka.sasl_password:
            raise SettingsError(
                f"[kafka] sasl_username or sasl_password is set, and security_protocol = {protocol!r} asks for "
                "neither; set it to 'SASL_SSL', or remove them"
            )
        return
    if kafka.sasl_mechanism == "PLAIN" and not kafka.encrypted:
        raise SettingsError(
            "[kafka] sasl_mechanism = 'PLAIN' with security_protocol = 'SASL_PLAINTEXT' sends the password in clear; "
            "set security_protocol = 'SASL_SSL', or a SCRAM mechanism"
        )
    if not (kafka.sasl_username and kafka.sasl_password) and not kafka.roles:
        raise SettingsError(
            f"[kafka] security_protocol = {protocol!r} needs sasl_username and sasl_password, or sasl_password_file"
            + (f", for example in [kafka.roles.{kafka.role}]" if kafka.role else "")
        )
