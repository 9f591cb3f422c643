"""Settings: who wins, what is said of a wrong one, and what is never said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sightline.errors import SettingsError
from sightline.settings import KafkaSettings, RegistrySettings, TableSettings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with an empty run folder in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGHTLINE_RUN", "run")
    (tmp_path / "run").mkdir()
    return tmp_path


def test_defaults_need_no_file(folder: Path) -> None:
    assert KafkaSettings.load().bootstrap == "127.0.0.1:9092"
    assert TableSettings.load().root == str(Path("run") / "tables")


def test_an_argument_beats_the_environment_beats_the_file_beats_the_deployment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "run" / "sightline.toml").write_text('[kafka]\nbootstrap = "deployment:1"\n')
    assert KafkaSettings.load().bootstrap == "deployment:1"
    (folder / "sightline.toml").write_text('[kafka]\nbootstrap = "file:1"\n')
    assert KafkaSettings.load().bootstrap == "file:1"
    monkeypatch.setenv("SIGHTLINE_KAFKA_BOOTSTRAP", "environment:1")
    assert KafkaSettings.load().bootstrap == "environment:1"
    assert KafkaSettings.load(bootstrap="argument:1").bootstrap == "argument:1"
    assert KafkaSettings.load(bootstrap=None).bootstrap == "environment:1"


def test_files_complete_each_other_key_by_key(folder: Path) -> None:
    (folder / "run" / "sightline.toml").write_text('[kafka]\nbootstrap = "deployment:1"\npartitions = 7\n')
    (folder / "sightline.toml").write_text('[kafka]\nbootstrap = "file:1"\n')
    settings = KafkaSettings.load()
    assert (settings.bootstrap, settings.partitions) == ("file:1", 7)


def test_a_named_file_replaces_the_one_in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "sightline.toml").write_text('[kafka]\nbootstrap = "file:1"\n')
    (folder / "plant.toml").write_text('[kafka]\nbootstrap = "plant:1"\n')
    monkeypatch.setenv("SIGHTLINE_CONFIG", "plant.toml")
    assert KafkaSettings.load().bootstrap == "plant:1"


def test_a_named_file_that_is_not_there_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_CONFIG", "absent.toml")
    with pytest.raises(SettingsError, match=r"absent\.toml"):
        KafkaSettings.load()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[kafka]\npartitions = 'many'\n", r"\[kafka\] partitions = 'many'.*SIGHTLINE_KAFKA_PARTITIONS"),
        ("[kafka]\npartitions = 0\n", r"partitions = 0"),
        ("[kafka]\nbootsrap = 'x:1'\n", r"bootsrap"),
        ("[kafka]\nsecurity_protocol = 'TLS'\n", r"security_protocol = 'TLS'.*SASL_SSL"),
        ("[kafka\n", r"not valid TOML.*sightline\.toml"),
        ("kafka = 3\n", r"'kafka' must be a table"),
    ],
)
def test_a_wrong_setting_is_named_with_value_and_variable(folder: Path, text: str, told: str) -> None:
    (folder / "sightline.toml").write_text(text)
    with pytest.raises(SettingsError, match=told):
        KafkaSettings.load()


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(SettingsError, match=r"(?s)partitions.*replication"):
        KafkaSettings.load(partitions=0, replication=0)


def test_secrets_are_in_no_message_and_no_print(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = {"security_protocol": "SASL_SSL", "sasl_username": "line"}
    assert "hush" not in repr(KafkaSettings.load(**line, sasl_password="hush"))
    assert "hush" not in repr(
        KafkaSettings.load(security_protocol="SASL_SSL", roles={"camera": {"sasl_password": "hush"}})
    )
    with pytest.raises(SettingsError) as caught:
        KafkaSettings.load(sasl_password=4711)
    assert "***" in str(caught.value)
    assert "4711" not in str(caught.value)
    with pytest.raises(SettingsError) as caught:
        TableSettings.load(storage_options={"AWS_SECRET_ACCESS_KEY": 4711})
    assert "4711" not in str(caught.value)
    monkeypatch.setenv("SIGHTLINE_TABLES_STORAGE_OPTIONS", '{"AWS_SECRET_ACCESS_KEY": hush')
    with pytest.raises(SettingsError, match="JSON") as caught:
        TableSettings.load()
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"sasl_pasword": "hush"},
        {"sasl_username": "line", "sasl_password": "hush"},
        {"sasl_password": "hush", "security_protocol": "SASL_SSL"},
        {"sasl_password": "hush", "partitions": 0},
        {"roles": {"camera": {"sasl_password": 4711, "sasl_pasword": "hush"}}},
        {"roles": {"cammera": {"sasl_password": "hush"}}},
        {"roles": "hush"},
    ],
)
def test_no_mistake_beside_a_secret_prints_it(folder: Path, given: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as caught:
        KafkaSettings.load(**given)
    assert "hush" not in str(caught.value)
    assert "4711" not in str(caught.value)


def test_secrets_may_lie_in_files_of_their_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "password").write_text("from the file\n")
    (folder / "sightline.toml").write_text(
        '[kafka]\nsecurity_protocol = "SASL_SSL"\nsasl_username = "line"\nsasl_password_file = "password"\n'
    )
    assert KafkaSettings.load().librdkafka()["sasl.password"] == "from the file"
    (folder / "sightline.toml").write_text('[kafka]\nsecurity_protocol = "SASL_SSL"\nsasl_username = "line"\n')
    monkeypatch.setenv("SIGHTLINE_KAFKA_SASL_PASSWORD_FILE", str(folder / "password"))
    assert KafkaSettings.load().librdkafka()["sasl.password"] == "from the file"


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "'password' cannot be read: No such file"), ("\n", "'password' is empty"), ("x", "both set")],
)
def test_a_secret_file_that_cannot_serve_is_named(folder: Path, content: str | None, told: str) -> None:
    if content is not None:
        (folder / "password").write_text(content)
    more = {"sasl_password": "hush"} if content == "x" else {}
    with pytest.raises(SettingsError, match=told) as caught:
        KafkaSettings.load(security_protocol="SASL_SSL", sasl_username="line", sasl_password_file="password", **more)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"sasl_username": "line"}, "asks for neither"),
        ({"security_protocol": "SASL_SSL"}, r"needs sasl_username and sasl_password"),
        (
            {
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": "PLAIN",
                "sasl_username": "a",
                "sasl_password": "b",
            },
            "sends the password in clear",
        ),
        ({"ca_file": "ca.pem"}, "encrypts nothing"),
        ({"ca_file": "absent.pem", "security_protocol": "SSL"}, "absent.pem' is not a file"),
        ({"client_key": "key.pem", "security_protocol": "SSL"}, "belong together"),
    ],
)
def test_settings_that_would_not_protect_are_refused(folder: Path, given: dict[str, Any], told: str) -> None:
    for name in ("ca.pem", "key.pem"):
        (folder / name).touch()
    with pytest.raises(SettingsError, match=told):
        KafkaSettings.load(**given)


def test_each_role_connects_as_itself_unless_one_user_is_named_for_all(folder: Path) -> None:
    roles = {role: {"sasl_username": role, "sasl_password": f"of {role}"} for role in ("camera", "scorer")}
    shared = {"security_protocol": "SASL_SSL", "roles": roles}
    kafka = KafkaSettings.load(**shared)
    assert kafka.for_role("scorer").librdkafka()["sasl.password"] == "of scorer"
    assert kafka.for_role("camera").sasl_username == "camera"
    with pytest.raises(SettingsError, match=r"\[kafka.roles.admin\]"):
        kafka.for_role("admin")
    named = KafkaSettings.load(**shared, sasl_username="line", sasl_password="x").for_role("scorer")
    assert named.librdkafka()["sasl.password"] == "x"


def test_each_client_gets_its_own_keys(folder: Path) -> None:
    (folder / "ca.pem").write_text("the plant's CA")
    settings = KafkaSettings.load(
        bootstrap="a:1,b:2",
        security_protocol="SASL_SSL",
        sasl_username="line",
        sasl_password='quo"te\\d',
        ca_file="ca.pem",
    )
    assert settings.librdkafka(acks="all") == {
        "bootstrap.servers": "a:1,b:2",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "line",
        "sasl.password": 'quo"te\\d',
        "ssl.ca.location": "ca.pem",
        "ssl.endpoint.identification.algorithm": "https",
        "metadata.recovery.strategy": "none",
        "socket.timeout.ms": 15_000,
        "acks": "all",
    }
    assert settings.kafka_python()["bootstrap_servers"] == ["a:1", "b:2"]
    assert settings.kafka_python()["sasl_plain_password"] == 'quo"te\\d'
    assert settings.kafka_python()["ssl_check_hostname"] is True
    spark = settings.spark()
    assert spark["kafka.ssl.truststore.certificates"] == "the plant's CA"
    jaas = spark["kafka.sasl.jaas.config"]
    assert jaas.startswith("org.apache.kafka.common.security.scram.ScramLoginModule required ")
    assert jaas.endswith('username="line" password="quo\\"te\\\\d";')


def test_a_client_certificate_reaches_each_client(folder: Path) -> None:
    (folder / "mine.pem").write_text("certificate")
    (folder / "key.pem").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    settings = KafkaSettings.load(
        security_protocol="SSL", client_certificate="mine.pem", client_key="key.pem", client_key_password="hush"
    )
    assert settings.librdkafka()["ssl.key.password"] == "hush"
    assert settings.kafka_python()["ssl_certfile"] == "mine.pem"
    assert settings.spark()["kafka.ssl.keystore.key"] == "-----BEGIN ENCRYPTED PRIVATE KEY-----"
    assert settings.spark()["kafka.ssl.keystore.certificate.chain"] == "certificate"
    (folder / "key.pem").write_text("-----BEGIN RSA PRIVATE KEY-----")
    with pytest.raises(SettingsError, match="openssl pkcs8") as caught:
        settings.spark()
    assert "RSA" not in str(caught.value)


def test_without_security_no_client_is_given_empty_keys() -> None:
    assert KafkaSettings.load().librdkafka() == {
        "bootstrap.servers": "127.0.0.1:9092",
        "security.protocol": "PLAINTEXT",
        "metadata.recovery.strategy": "none",
        "socket.timeout.ms": 15_000,
    }


def test_a_deployment_prefixes_all_its_topics() -> None:
    topics = vars(KafkaSettings.load(topic_prefix="plant7.").topics)
    assert set(topics.values()) >= {"plant7.frames", "plant7.frames.dead-letter", "plant7.alerts"}
    assert all(name.startswith("plant7.") for name in topics.values())


def test_table_paths_are_below_the_root_with_or_without_a_slash() -> None:
    assert TableSettings.load(root="s3a://plant/x/").path("alerts") == "s3a://plant/x/alerts"
    assert TableSettings.load(root="/data").path("alerts") == "/data/alerts"
    assert TableSettings.load(root="here").path("alerts") == str(Path("here").absolute() / "alerts")


def test_delta_rs_is_told_tables_and_keys_as_it_spells_them() -> None:
    store = TableSettings.load(root="s3a://plant/sightline", storage_options={"AWS_ENDPOINT_URL": "http://store"})
    assert store.delta_rs("inspections") == {
        "table_uri": "s3://plant/sightline/inspections",
        "storage_options": {"AWS_ENDPOINT_URL": "http://store"},
    }
    assert TableSettings.load(root="/data").delta_rs("alerts") == {
        "table_uri": "/data/alerts",
        "storage_options": None,
    }


def test_the_registry_lies_in_the_run_folder(folder: Path) -> None:
    assert RegistrySettings.load().tracking_uri == f"sqlite:///{folder / 'run' / 'mlflow' / 'mlflow.db'}"
