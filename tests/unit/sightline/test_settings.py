"""Settings: who wins, what is said of a wrong one, and what is never said."""

from __future__ import annotations

from pathlib import Path

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
    assert "hush" not in repr(KafkaSettings.load(sasl_password="hush"))
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


def test_each_client_gets_its_own_keys() -> None:
    settings = KafkaSettings.load(
        bootstrap="a:1,b:2",
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
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
        "metadata.recovery.strategy": "none",
        "acks": "all",
    }
    assert settings.kafka_python()["bootstrap_servers"] == ["a:1", "b:2"]
    assert settings.kafka_python()["sasl_plain_password"] == 'quo"te\\d'
    jaas = settings.spark()["kafka.sasl.jaas.config"]
    assert jaas.startswith("org.apache.kafka.common.security.scram.ScramLoginModule required ")
    assert jaas.endswith('username="line" password="quo\\"te\\\\d";')


def test_without_security_no_client_is_given_empty_keys() -> None:
    assert KafkaSettings.load().librdkafka() == {
        "bootstrap.servers": "127.0.0.1:9092",
        "security.protocol": "PLAINTEXT",
        "metadata.recovery.strategy": "none",
    }


def test_a_deployment_prefixes_all_its_topics() -> None:
    topics = vars(KafkaSettings.load(topic_prefix="plant7.").topics)
    assert set(topics.values()) >= {"plant7.frames", "plant7.frames.dead-letter", "plant7.alerts"}
    assert all(name.startswith("plant7.") for name in topics.values())


def test_table_paths_are_below_the_root_with_or_without_a_slash() -> None:
    assert TableSettings.load(root="s3a://plant/x/").path("alerts") == "s3a://plant/x/alerts"
    assert TableSettings.load(root="/data").path("alerts") == "/data/alerts"
    assert TableSettings.load(root="here").path("alerts") == str(Path("here").absolute() / "alerts")


def test_the_registry_lies_in_the_run_folder(folder: Path) -> None:
    assert RegistrySettings.load().tracking_uri == f"sqlite:///{folder / 'run' / 'mlflow' / 'mlflow.db'}"
